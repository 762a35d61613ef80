package promtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Promtool runs promtool. Without it in the PATH (Debian's package prometheus has
// it) the test is skipped; where CI is set that is a failure.
func Promtool(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("promtool is not in the PATH, and CI must not skip the test")
	}
	if err != nil {
		t.Skip("promtool is not in the PATH; Debian's package prometheus has it")
	}
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Rules tests rules on the series that a program's own metrics make. Scrapes are
// Every apart, the first at 0.
type Rules struct {
	File    string // with the rules
	Every   time.Duration
	series  strings.Builder
	expects strings.Builder
}

// Scrapes collects what a registry shows, scrape by scrape.
type Scrapes struct {
	values map[string][]string
	n      int
}

// Scrape notes the gauges of a registry as they are now, with the labels of scraping.
func (s *Scrapes) Scrape(t *testing.T, from prometheus.Gatherer, labels string) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if s.values == nil {
		s.values = map[string][]string{}
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetType() != dto.MetricType_GAUGE {
				continue
			}
			var all []string
			for _, l := range m.GetLabel() {
				all = append(all, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName() + "{" + strings.Join(append(all, labels), ", ") + "}"
			for len(s.values[name]) < s.n {
				s.values[name] = append(s.values[name], "_")
			}
			s.values[name] = append(s.values[name], fmt.Sprint(m.GetGauge().GetValue()))
		}
	}
	s.n++
}

// Series adds what was scraped.
func (r *Rules) Series(s *Scrapes) {
	for name, values := range s.values {
		fmt.Fprintf(&r.series, "      - {series: '%s', values: '%s'}\n", name, strings.Join(values, " "))
	}
}

// Expect says what an expression yields at a time: a series of the value 1 for each of
// these labels, as {a="b"}; none for none.
func (r *Rules) Expect(expression string, at time.Duration, labels ...string) {
	fmt.Fprintf(&r.expects, "      - expr: '%s'\n        eval_time: %v\n", expression, at)
	if len(labels) > 0 {
		r.expects.WriteString("        exp_samples:\n")
	}
	for _, l := range labels {
		fmt.Fprintf(&r.expects, "          - {labels: '%s', value: 1}\n", l)
	}
}

// Run asks promtool.
func (r *Rules) Run(t *testing.T) {
	t.Helper()
	rules, err := filepath.Abs(r.File)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("rule_files: [%q]\nevaluation_interval: %v\ntests:\n  - interval: %v\n    input_series:\n%s    promql_expr_test:\n%s",
		rules, r.Every, r.Every, r.series.String(), r.expects.String())
	file := filepath.Join(t.TempDir(), "rules.test.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	Promtool(t, "test", "rules", file)
}
