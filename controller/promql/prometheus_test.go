package promql

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/controller/promql/promtest"
	"github.com/detnet/detnet/internal/await"
)

// What the queries of the manual mean is for a real server to say.
func TestRealPrometheus(t *testing.T) {
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "hubble_flow_latency_seconds", Help: "x", Buckets: []float64{0.001, 0.002, 0.004},
	}, []string{"app"})
	exporter := promtest.Export(t, latency, func() {
		for range 100 {
			latency.WithLabelValues("robot").Observe(0.0015)
			latency.WithLabelValues("idle").Observe(0.0005)
		}
	})
	c := DefaultConfig()
	c.URL, c.Timeout = promtest.Start(t, exporter.Addr), 10*time.Second
	s := source{c, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	ask := func(query string) (time.Duration, error) { return s.delay(t.Context(), parsed(t, query)) }

	const query = `histogram_quantile(0.95, rate(hubble_flow_latency_seconds_bucket[60s]))`
	var d time.Duration
	await.Success(t, "the query yields a delay", func() (err error) { d, err = ask(query); return err })
	// All observations are in the bucket from 1 to 2 ms; of the two series the worse counts.
	if d < time.Millisecond || d > 2*time.Millisecond {
		t.Errorf("%v, want from 1 to 2 ms", d)
	}
	for query, want := range map[string]string{
		`rate(no_such_metric[60s])`:                                                          "no data: Prometheus has no present value of no_such_metric",
		`sum(rate(hubble_flow_latency_seconds_sum{app="none"}[60s]))`:                        `no present value of hubble_flow_latency_seconds_sum{app="none"}`,
		`histogram_quantile(0.95, hubble_flow_latency_seconds_bucket, 1)`:                    "400 Bad Request: refused: invalid parameter",
		`rate(hubble_flow_latency_seconds_sum[60s]) * -1`:                                    "is no delay",
		`hubble_flow_latency_seconds_sum[60s]`:                                               "yields a matrix",
		`rate(hubble_flow_latency_seconds_sum[60s]) / hubble_flow_latency_seconds_count > 9`: "no data: the query yields",
	} {
		if d, err := ask(query); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", query, d, err, want)
		}
	}

	// rate() goes on to yield numbers for a minute after the target is gone; the
	// age of its series says at once that they are history.
	exporter.Down.Store(true)
	await.Success(t, "a vanished target is seen", func() error {
		if d, err := ask(query); err == nil {
			return errStillSees(d)
		}
		return nil
	})
}

type errStillSees time.Duration

func (e errStillSees) Error() string { return "still sees " + time.Duration(e).String() }
