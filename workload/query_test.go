package workload

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseQuery(t *testing.T) {
	const minute = time.Minute
	for text, want := range map[string]struct {
		back      time.Duration
		selectors []string
	}{
		`histogram_quantile(0.95, rate(hubble_flow_latency_seconds_bucket[60s]))`:               {minute, []string{"hubble_flow_latency_seconds_bucket"}},
		`histogram_quantile(0.95, sum by (le) (rate(x_bucket{app="robot",le=~"[0-9.]+"}[1m])))`: {minute, []string{`x_bucket{app="robot",le=~"[0-9.]+"}`}},
		`rate(x_sum[1m]) / on(pod) group_left(node) rate(x_count[2m])`:                          {2 * minute, []string{"x_sum", "x_count"}},
		`robot_delay_seconds`:                                            {0, []string{"robot_delay_seconds"}},
		`max(robot_delay_seconds{app='a)]'}) * 1e3`:                      {0, []string{"robot_delay_seconds{app='a)]'}"}},
		`max without(pod, node) (a:b:c{x!~"\"}"} > 0x1F or vector(NaN))`: {0, []string{`a:b:c{x!~"\"}"}`}},
		`{__name__="delay"}[1m]`:                                         {minute, []string{`{__name__="delay"}`}},
		`max_over_time(rate(x[1m])[5m:15s])`:                             {6 * minute, []string{"x"}},
		"rate(x[1m30s500ms]) # of [1h]\n+ x offset 5m":                   {90*time.Second + 500*time.Millisecond, []string{"x"}},
		`rate(x_sum[300]) / rate(x_count[0x3c])`:                         {5 * minute, []string{"x_sum", "x_count"}},
		`avg_over_time(x[1d]) + rate(y[1.5e2])`:                          {24 * time.Hour, []string{"x", "y"}},
		`max_over_time(x[300:15])`:                                       {5 * minute, []string{"x"}},
		`max_over_time(x[5m] @ end())`:                                   {5 * minute, []string{"x"}},
		`label_replace(x, "pod", "$1", "instance", "(.*):.*")`:           {0, []string{"x"}},
		`{"probe.duration.seconds", job="otel"}`:                         {0, []string{`{"probe.duration.seconds", job="otel"}`}},
		`sum(rate(x [ 1m ])) BY (le)`:                                    {minute, []string{"x"}},
	} {
		got, err := ParseQuery(text)
		if err != nil || got.Range != want.back || !slices.Equal(got.Selectors, want.selectors) || got.Text != text {
			t.Errorf("ParseQuery(%s) = %v, %q, %v; want %v, %q", text, got.Range, got.Selectors, err, want.back, want.selectors)
		}
	}
}

// What can't be asked is refused before Prometheus is, and the message says
// what is wrong.
func TestParseQueryRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                          "empty",
		"\n":                        "empty",
		"rate(x[60s]":               "missing",
		"rate(x[60s]))":             "unexpected",
		"rate(x[60s)":               "no end",
		"x]":                        "unexpected",
		`x{a="b}`:                   "no end",
		"rate(x[fast])":             "such as 60s",
		"rate(x[])":                 "such as 60s",
		"rate(x[0s])":               "such as 60s",
		"rate(x[2d])":               "up to 1d",
		"rate(x[86401])":            "up to 1d",
		"rate(x[0])":                "such as 60s",
		"rate(x[1e99])":             "up to 1d",
		"rate(x[99999999999999y])":  "up to 1d",
		"rate(x[$__rate_interval])": "$__rate_interval is a variable of Grafana, which Prometheus does not know",
		"rate(x[${window}:1m])":     "${window} is a variable of Grafana",
		"rate($metric[1m])":         "$metric is a variable of Grafana",
		"rate([60s])":               "follows no series",
		"vector(1)":                 "no series",
		"1":                         "no series",
		"x\xff":                     "UTF-8",
		"a+b+c+d+e+f+g+h+i":         "reads 9 series; at most 8",
		strings.Repeat("x", 5000):   "at most 4096",
	} {
		if got, err := ParseQuery(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("ParseQuery(%.40q) = %+v, %v; want an error with %q", text, got, err, says)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add(`histogram_quantile(0.95, sum by (le) (rate(x_bucket{a="b"}[60s])))`)
	f.Add(`max_over_time(rate(x[1m])[5m:15s]) # comment`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseQuery(text)
		if err != nil {
			return
		}
		if q.Range < 0 || q.Range > 2*maxRange || len(q.Selectors) == 0 {
			t.Fatalf("%q: %+v", text, q)
		}
		for _, s := range q.Selectors {
			if s == "" || !strings.Contains(text, s) {
				t.Fatalf("%q: selector %q is not of it", text, s)
			}
		}
		if again, err := ParseQuery(q.Text); err != nil || again.Range != q.Range || !slices.Equal(again.Selectors, q.Selectors) {
			t.Fatalf("%q is not read again: %+v, %v", q.Text, again, err)
		}
	})
}
