package controller

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/repair"
	"github.com/detnet/detnet/controller/status"
)

var update = flag.Bool("update", false, "write docs/reference/metrics-controller.md")

const reference = "../docs/reference/metrics-controller.md"

const preamble = `# Metrics of the controller

Served at ` + "`/metrics`" + ` on ` + "`--metrics-addr`" + `, in base units: seconds, bits per second, ratios
0…1. Gauges about pods come from the leader alone and go with the pod. ` + "`pod`" + ` is
namespace/name. Those of Go, of the process and of controller-runtime are there too, and
` + "`detnet_certificate_expiry_timestamp_seconds`" + ` of webhook, controller and agents alike.

| name | labels | meaning |
|---|---|---|
`

const afterword = `
## For those who come from the original

| the original's gauge | here |
|---|---|
| latency and success per target and protocol | ` + "`detnet_app_measured_seconds{signal=\"latency\"}`, 1 − `detnet_app_loss_ratio`" + `; per packet, the agents' histograms |
| jitter per service | ` + "`detnet_app_measured_seconds{signal=\"jitter\"}`" + ` |
| bandwidth limit per deployment | ` + "`detnet_egress_limit_bits_per_second`" + ` |
`

// collecting remembers the descriptions of what is registered.
type collecting struct {
	prometheus.Registerer
	descriptions []string
}

func (c *collecting) MustRegister(all ...prometheus.Collector) {
	for _, collector := range all {
		ch := make(chan *prometheus.Desc, 100)
		collector.Describe(ch)
		close(ch)
		for d := range ch {
			c.descriptions = append(c.descriptions, d.String())
		}
	}
}

var parts = regexp.MustCompile(`fqName: "(.*?)", help: "(.*?)", (?:unit|constLabels).*variableLabels: \{+([^}]*)\}`)

func TestMetricsReferenceIsCurrent(t *testing.T) {
	var c collecting
	NewMetrics(&c, func() *status.Status { return &status.Status{} })
	for _, d := range described {
		c.descriptions = append(c.descriptions, prometheus.NewDesc(d.name, d.help, d.labels, nil).String())
	}
	actuate.New(nil, actuate.DefaultConfig(), slog.New(slog.DiscardHandler), &c)
	promql.New(promql.DefaultConfig(), slog.New(slog.DiscardHandler), &c)
	(&repair.Repair{}).Register(&c)
	if _, err := netpol.New(netpol.Settings{Config: &rest.Config{}, Registerer: &c}); err != nil {
		t.Fatal(err)
	}
	(&config.Files{}).Register(&c)
	slices.Sort(c.descriptions)
	var want bytes.Buffer
	want.WriteString(preamble)
	for _, d := range c.descriptions {
		m := parts.FindStringSubmatch(d)
		if m == nil {
			t.Fatalf("cannot read %s", d)
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", m[1], strings.ReplaceAll(m[3], ",", ", "), m[2])
	}
	want.WriteString(afterword)
	if *update {
		if err := os.WriteFile(reference, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(reference); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not current (%v): go test ./controller -run Reference -update", reference, err)
	}
}
