package charts

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/enforce"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/promql/promtest"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/webhook"
)

const (
	alertsFile    = "detnet/files/alerts.yaml"
	dashboardFile = "detnet/files/dashboard.json"
)

// registered collects the labels of every metric that the programs register.
type registered struct {
	prometheus.Registerer
	labels map[string][]string
}

var parts = regexp.MustCompile(`fqName: "(.*?)".*constLabels: \{(.*?)\}, variableLabels: \{+([^}]*)\}`)

func (r *registered) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 100)
	c.Describe(ch)
	close(ch)
	for d := range ch {
		m := parts.FindStringSubmatch(d.String())
		labels := strings.Split(m[3], ",")
		for constant := range strings.SplitSeq(m[2], ",") {
			name, _, _ := strings.Cut(constant, "=")
			labels = append(labels, name)
		}
		r.labels[m[1]] = labels
	}
	return nil
}

func (r *registered) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		_ = r.Register(c) // never an error
	}
}

// everyMetric registers what the programs do, without running them.
func everyMetric(t *testing.T) *registered {
	t.Helper()
	r := &registered{labels: map[string][]string{}}
	controller.NewMetrics(r, func() *status.Status { return &status.Status{} })
	controller.DescribeGauges(func(name string, labels []string) { r.labels[name] = slices.Clone(labels) })
	actuate.New(nil, actuate.DefaultConfig(), slog.New(slog.DiscardHandler), r)
	(&config.Files{}).Register(r)
	webhook.NewMetrics(r)
	engine, err := policies.Load(t.Context(), policies.Default())
	if err != nil {
		t.Fatal(err)
	}
	live.NewActive(engine, time.Now(), r)
	agent.NewMetrics(r)
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := probe.NewReflector(conn, probe.ReflectorOptions{}, r); err != nil {
		t.Fatal(err)
	}
	if _, err := enforce.New(nil, slog.New(slog.DiscardHandler), r); err != nil {
		t.Fatal(err)
	}
	if err := new(certs.Current).RegisterExpiry(r, "any"); err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	metricName = regexp.MustCompile(`\b(detnet_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	labelName  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	byLabels   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}`)
)

// expression is a query, and the labels that texts beside it speak of.
type expression struct{ query, texts string }

// An alert on a metric that nobody registers would never fire, and say so to
// nobody.
func TestMonitoringNamesRealMetrics(t *testing.T) {
	known := everyMetric(t)
	for _, e := range append(alerts(t), panels(t)...) {
		var labels []string
		for _, m := range metricName.FindAllStringSubmatch(e.query, -1) {
			base := m[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			has, ok := known.labels[base]
			if !ok {
				t.Errorf("%s: no program registers %s", e.query, m[1])
			}
			has = append(has, "le")
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(has, l[1]) {
					t.Errorf("%s: %s has no label %s", e.query, m[1], l[1])
				}
			}
			labels = append(labels, has...)
		}
		if len(labels) == 0 {
			t.Errorf("%s names no metric of detnet", e.query)
		}
		for _, m := range byLabels.FindAllStringSubmatch(e.query, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				if !slices.Contains(labels, strings.TrimSpace(l)) {
					t.Errorf("%s: nothing has a label %s", e.query, l)
				}
			}
		}
		for _, m := range legend.FindAllStringSubmatch(e.texts, -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("%s: %q speaks of a label that nothing has", e.query, m[0])
			}
		}
	}
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) []expression {
	t.Helper()
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file rules
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []expression
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %s: severity, summary or description is missing", r.Alert)
			}
			all = append(all, expression{r.Expr, r.Annotations["summary"] + r.Annotations["description"]})
		}
	}
	return all
}

func panels(t *testing.T) []expression {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []expression
	seen := map[int]bool{}
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: its id is taken, or it has no title or no query", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			all = append(all, expression{target.Expr, target.LegendFormat})
		}
	}
	return all
}

func TestAlertsFire(t *testing.T) {
	promtest.Promtool(t, "check", "rules", "--lint-fatal", alertsFile)
	promtest.Promtool(t, "test", "rules", "testdata/alerts.test.yaml")
}

// Each query of the dashboard is one that Prometheus can read.
func TestDashboardQueries(t *testing.T) {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	type group struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	}
	all := group{Name: "dashboard"}
	for _, e := range panels(t) {
		all.Rules = append(all.Rules, rule{"x", strings.ReplaceAll(e.query, "$__rate_interval", "5m")})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []group{all}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtest.Promtool(t, "check", "rules", "--lint=none", file)
}

// What the chart renders is what the files say.
func TestMonitoringIsRendered(t *testing.T) {
	render := func(template string, into any) {
		t.Helper()
		out, err := helm(t, "template", "detnet", "detnet", "--values", "testdata/full.values.yaml", "--show-only", "templates/monitoring/"+template)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(out), into); err != nil {
			t.Fatal(err)
		}
	}
	var rule struct{ Spec rules }
	render("rules.yaml", &rule)
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var want rules
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rule.Spec); diff != "" {
		t.Errorf("PrometheusRule (-file +chart):\n%s", diff)
	}
	var dashboard corev1.ConfigMap
	render("dashboard.yaml", &dashboard)
	if text, err = os.ReadFile(dashboardFile); err != nil || strings.TrimSpace(dashboard.Data["detnet.json"]) != strings.TrimSpace(string(text)) {
		t.Errorf("the dashboard is not the file's: %v", err)
	}
	if _, err := helm(t, "template", "detnet", "detnet", "--set", "podMonitor.enabled=true", "--set", "serviceMonitor.enabled=true"); err == nil || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("two monitors at once: %v", err)
	}
}

// Metrics for some only: who serves them asks for a certificate, kubelets reach the
// agents' health over TLS, and the monitors show the certificate to all but the
// webhook. Without the value nothing of it is there.
func TestMetricsForSomeOnly(t *testing.T) {
	for _, monitor := range []string{"podMonitor", "serviceMonitor"} {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, []byte("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"template", "detnet", "detnet", "--set", monitor + ".enabled=true", "--set-file", "metrics.clientCA=" + ca}
		if _, err := helm(t, args...); err == nil || !strings.Contains(err.Error(), "metrics.clientSecret.name") {
			t.Errorf("%s without a certificate to show: %v", monitor, err)
		}
		out, err := helm(t, append(args, "--set", "metrics.clientSecret.name=scraper")...)
		if err != nil {
			t.Fatal(err)
		}
		for part, want := range map[string]int{
			"--metrics-client-ca-file=/etc/detnet/metrics-ca/ca.crt": 3,
			"{name: metrics-ca, mountPath: /etc/detnet/metrics-ca":   3,
			"port: metrics, scheme: HTTPS}":                          6,
			"configMap: {name: detnet-metrics-ca}":                   3,
			`cert: {secret: {name: "scraper", key: "tls.crt"}}`:      1,
			"serverName: detnet-agent":                               1,
			"regex: webhook, action: keep":                           1,
			"regex: webhook, action: drop":                           1,
		} {
			if got := strings.Count(out, part); got != want {
				t.Errorf("%s: %q %d times, want %d", monitor, part, got, want)
			}
		}
	}
	out, err := helm(t, "template", "detnet", "detnet", "--set", "podMonitor.enabled=true")
	if err != nil || strings.Contains(out, "metrics-client-ca") || strings.Contains(out, "scheme: HTTPS") || strings.Contains(out, "tlsConfig") {
		t.Errorf("by default: %v", err)
	}
}
