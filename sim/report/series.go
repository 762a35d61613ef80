package report

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/sim"
)

func writeTrace(w io.Writer, runs []TraceRun) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"law", "seconds", "jitter_ms", "limit_bps", "action", "cause"}}
	for _, run := range runs {
		for _, p := range run.Points {
			jitter := ""
			if p.Jitter >= 0 {
				jitter = number(milliseconds(p.Jitter))
			}
			rows = append(rows, []string{run.Law, number(p.At.Seconds()), jitter, strconv.FormatInt(int64(p.Limit), 10), string(p.Action), string(p.Cause)})
		}
	}
	return c.WriteAll(rows)
}

// writeSeries writes the sub-windows: limits and usage of every sender, and
// the decision made last.
func writeSeries(w io.Writer, records []*sim.Record) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"law", "seconds", "sender", "limit_bps", "sent_bps", "delivered_bps", "capacity_bps", "action", "cause"}}
	for _, r := range records {
		decision := 0
		var last plan.Reason
		for _, p := range r.Points {
			for decision < len(r.Decisions) && r.Decisions[decision].At <= p.At {
				if reasons := r.Decisions[decision].Plan.Reasons; len(reasons) > 0 {
					last = reasons[0]
				}
				decision++
			}
			for i, name := range r.Senders {
				rows = append(rows, []string{
					r.Law, number(p.At.Seconds()), name, strconv.FormatInt(int64(p.Limits[i]), 10), strconv.FormatInt(int64(p.Usage[i]), 10),
					strconv.FormatInt(int64(p.Goodput[i]), 10), strconv.FormatInt(int64(p.Room), 10), string(last.Action), string(last.Cause),
				})
			}
		}
	}
	return c.WriteAll(rows)
}

// span is what the probes of one app saw in a quarter of a second, in ms. A
// lost probe counts as mostDelay.
type span struct {
	at           time.Duration
	median, tail float64 // tail: the 95th percentile
	probes, late int
}

const (
	spanLength            = 250 * time.Millisecond
	leastDelay, mostDelay = 0.02, 200.0 // of what is drawn
)

func spansOf(r *sim.Record, app string) []span {
	bins := make([][]float64, int(r.Scenario.Length/spanLength)+1)
	late := make([]int, len(bins))
	for _, p := range r.Probes {
		if p.App != app {
			continue
		}
		v := milliseconds(p.Delay)
		if p.Lost {
			v = mostDelay
		}
		i := p.At / spanLength
		bins[i] = append(bins[i], v)
		if p.Late {
			late[i]++
		}
	}
	var all []span
	for i, values := range bins {
		if n := len(values); n > 0 {
			slices.Sort(values)
			all = append(all, span{time.Duration(i) * spanLength, quantile.Of(values, 0.5), quantile.Of(values, 0.95), n, late[i]})
		}
	}
	return all
}

// writeDelays writes what the probes saw.
func writeDelays(w io.Writer, records []*sim.Record) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"law", "seconds", "app", "target_ms", "median_ms", "p95_ms", "probes", "late"}}
	for _, r := range records {
		for _, app := range r.Scenario.Apps {
			for _, s := range spansOf(r, app.Name) {
				rows = append(rows, []string{
					r.Law, number(s.at.Seconds()), app.Name, number(target(r.Scenario, app)), number(s.median), number(s.tail),
					strconv.Itoa(s.probes), strconv.Itoa(s.late),
				})
			}
		}
	}
	return c.WriteAll(rows)
}

// target is what an app's target leaves above the empty path, in ms.
func target(s sim.Scenario, app sim.AppSpec) float64 {
	if app.SLO.Jitter > 0 {
		return milliseconds(app.SLO.Jitter)
	}
	return milliseconds(app.SLO.Latency - 2*s.Propagation)
}
