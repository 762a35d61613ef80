package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
)

// Bars on what the webhook adds, in milliseconds.
const (
	barP50 = 3.0
	barP99 = 10.0
)

// Report is all that was measured.
type Report struct {
	Rate     int               `json:"creates_per_second"`
	CPUs     int               `json:"cpus"`
	Values   map[string]string `json:"chart_values,omitempty"`
	Latency  []Comparison      `json:"latency,omitempty"`
	Failures []Failures        `json:"failures,omitempty"`
}

func newReport(o options) *Report {
	return &Report{Rate: o.rate, CPUs: runtime.NumCPU(), Values: o.values}
}

func (q Quantiles) String() string {
	return fmt.Sprintf("p50 %+.2f  p90 %+.2f  p99 %+.2f ms", q.P50, q.P90, q.P99)
}

func (r *Report) printLatency(w io.Writer) {
	fmt.Fprintf(w, "\nLatency of creates at %d a second on %d CPUs, ms\n\n", r.Rate, r.CPUs)
	for _, c := range r.Latency {
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		row := func(name, format string, q Quantiles) {
			fmt.Fprintf(tab, "%s\t"+format+"\t"+format+"\t"+format+"\t\n", name, q.P50, q.P90, q.P99)
		}
		fmt.Fprintf(tab, "%s, %d of each\tp50\tp90\tp99\t\n", c.Kind, c.Creates)
		row("ignored by the webhook", "%.2f", c.Ignored)
		row("served by it", "%.2f", c.Served)
		row("added", "%+.2f", c.Added)
		row("ratio", "%.2f", c.Ratio)
		row("added, median of pairs of slices", "%+.2f", c.Pairwise)
		row("added, 95 % interval from", "%+.2f", c.Low)
		row("to", "%+.2f", c.High)
		row("late of the bench's own sending", "%.2f", c.Late)
		row("the webhook's own time", "%.2f", c.Parts.WorkedAt)
		_ = tab.Flush()
		p := c.Parts
		fmt.Fprintf(w, "Of %d calls the API server saw %.2f ms on average; %.2f ms was the webhook's own, with %.2f ms of CPU.\n",
			p.Calls, p.Waited, p.Worked, p.CPU)
		fmt.Fprintf(w, "%d failed, %d unstamped. Load average %s before, %s after. Bars: p50 +%.0f ms %s, p99 +%.0f ms %s.\n\n",
			c.Failed, c.Missed, p.LoadFrom, p.LoadUntil, barP50, c.met(c.Low.P50, c.High.P50, barP50), barP99, c.met(c.Low.P99, c.High.P99, barP99))
	}
}

// fewPairs is too few to tell from each other.
const fewPairs = 5

// met compares an interval with a bar: it takes all of it to decide.
func (c Comparison) met(low, high, bar float64) string {
	switch {
	case c.Pairs < fewPairs:
		return "undecided (too few pairs of slices)"
	case high <= bar:
		return "met"
	case low > bar:
		return "MISSED"
	}
	return "undecided (the interval holds the bar: run it longer, or on a quieter machine)"
}

func (r *Report) printFailures(w io.Writer) {
	if len(r.Failures) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCreates with failurePolicy Fail, up to %d a second, one in %d kept, the others dry runs\n\n", r.Rate, keepEvery)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "during\trollouts\trotations\treloads\tpolicy sets seen\tcreates\tfailed\tunstamped\tp50 ms\tp99 ms\tlongest ms\t")
	for _, f := range r.Failures {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t\n", f.During, f.Events["rollouts"], f.Events["rotations"],
			f.Events["reloads"], f.Policies, f.Creates, f.Failed, f.Unstamped, f.Took.P50, f.Took.P99, f.Longest)
	}
	_ = tab.Flush()
	for _, f := range r.Failures {
		for _, e := range f.Errors {
			fmt.Fprintf(w, "%s: %s\n", f.During, e)
		}
	}
}

func (r *Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// verdict is an error where a create failed or came through unstamped: unlike
// a latency, that is no matter of how busy the machine is.
func (r *Report) verdict() error {
	failed, unstamped := 0, 0
	for _, c := range r.Latency {
		failed, unstamped = failed+c.Failed, unstamped+c.Missed
	}
	for _, f := range r.Failures {
		failed, unstamped = failed+f.Failed, unstamped+f.Unstamped
	}
	if failed+unstamped > 0 {
		return fmt.Errorf("%d creates failed and %d came through unstamped", failed, unstamped)
	}
	return nil
}
