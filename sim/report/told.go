package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
)

// writeTold says in a sentence for each law of the product what it decided.
func (r *Results) writeTold(w io.Writer, scenario string) {
	for _, record := range r.Shown[scenario] {
		if decides(record.Law) {
			fmt.Fprintf(w, "\n- %s %s", record.Law, told(record))
		}
	}
	fmt.Fprintln(w)
}

// told is the sentence for one run.
func told(r *sim.Record) string {
	var cuts, raises int
	first := ""
	causes := map[plan.Cause]int{}
	limits := sumsOfLimits(r)
	for _, d := range r.Decisions {
		if d.Writes == 0 {
			continue
		}
		down := slices.ContainsFunc(d.Plan.Limits, plan.Limit.Urgent)
		if !down {
			raises++
			continue
		}
		cuts++
		for _, reason := range d.Plan.Reasons {
			if reason.Action == plan.Cut {
				causes[reason.Cause]++
			}
			if reason.Action == plan.Cut && first == "" && d.At >= r.Scenario.Onset {
				first = fmt.Sprintf("cut first %.2f s after the onset, at %.0fM in use%s", (d.At - r.Scenario.Onset).Seconds(), usedAt(r, d.At).Mbit(), signalOf(reason))
			}
		}
	}
	if cuts+raises == 0 {
		return fmt.Sprintf("changed nothing: the limits stayed at %.0fM together.", limits[len(limits)-1].Mbit())
	}
	if first == "" {
		first = "never cut after the onset"
	}
	return fmt.Sprintf("%s; %d cuts and %d raises in all took the limits from %.0fM together to %.0fM at the least and %.0fM at the end%s.",
		first, cuts, raises, limits[0].Mbit(), slices.Min(limits).Mbit(), limits[len(limits)-1].Mbit(), because(causes))
}

// toldOfTrace is the sentence for a trace under one law.
func toldOfTrace(t sim.Trace, x traceSummary) string {
	t = t.Defaults()
	if x.Cuts+x.Raises == 0 {
		return fmt.Sprintf("left the limit at %v: for a target of %v it saw nothing to do.", x.Last, t.Target)
	}
	return fmt.Sprintf("began with %v, and for a target of %v cut %d times and raised %d times, to %v at the least and %v at the end.", t.Start, t.Target, x.Cuts, x.Raises, x.Least, x.Last)
}

func signalOf(r plan.Reason) string {
	if r.Target == 0 {
		return ""
	}
	return fmt.Sprintf(", for %s of %.2f ms where %.2f were allowed", r.Signal, milliseconds(r.Measured), milliseconds(r.Target))
}

func because(causes map[plan.Cause]int) string {
	var all []string
	for cause, n := range causes {
		if cause != plan.Violation {
			all = append(all, fmt.Sprintf("%d for %s", n, cause))
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return " (" + strings.Join(all, ", ") + ")"
}

func sumsOfLimits(r *sim.Record) []bitrate.Rate {
	all := make([]bitrate.Rate, len(r.Points))
	for i, p := range r.Points {
		for k, s := range r.Scenario.Senders {
			if !s.Uncontrolled {
				all[i] += p.Limits[k]
			}
		}
	}
	return all
}

func usedAt(r *sim.Record, at time.Duration) (used bitrate.Rate) {
	i := slices.IndexFunc(r.Points, func(p sim.Point) bool { return p.At >= at })
	if i < 0 {
		return 0
	}
	for k, s := range r.Scenario.Senders {
		if !s.Uncontrolled {
			used += r.Points[i].Usage[k]
		}
	}
	return used
}

// writeBar says what adaptive is to reach in a world, and whether it does.
func (r *Results) writeBar(w io.Writer, s sim.Scenario, rows []Row) {
	i := slices.IndexFunc(rows, func(row Row) bool { return row.Scenario == s.Name && row.Law == law.Adaptive })
	if i < 0 || !s.Bar.Asks() {
		return
	}
	taken := 0.0
	if slices.Contains(r.Suite.Laws, NothingName) {
		taken = rows[i].Taken
	}
	worst := bitrate.Max
	for _, score := range r.Scores {
		if score.Scenario == s.Name && score.Law == law.Adaptive {
			worst = min(worst, score.Goodput)
		}
	}
	switch missed := s.Bar.Misses(rows[i].Figures, worst, taken); {
	case len(missed) > 0:
		fmt.Fprintf(w, "\nadaptive misses its bar: %s.\n", strings.Join(missed, "; "))
	default:
		fmt.Fprint(w, "\nadaptive keeps its bar.\n")
	}
}

// columns explains those of the tables.
const columns = `
- *violations*: share of all probe packets after the onset that were beyond their app's target, or lost
- *of queues*: those that would not have been without any queue; the rest is hosts that are late by themselves
- *after 2 s*: violations from 2 s after the onset on
- *best effort*: delivered by the pods that may be limited, from the onset to the end of the load
- *of oracle*: that, of the best static limit with at most 1 % of violations, chosen with knowledge of the future
- *taken*: best effort lost against doing nothing
- *first cut*: from the onset to the first limit that was lowered
- *clean*: from the onset to the first 2 s with less than 5 % of violations
- *recovered*: from where capacity came back to where 90 % of it may be used
- *filled*: of what would go through, delivered in the last of the first ten seconds after the onset with at most 1 % of violations
- *Jain*: fairness of the shares by weight and demand, 1 at best
- *patches/pod/5 s*: limits written for each pod in 5 s, from 10 s after the onset on
- *calm patches*: limits written before the onset
- –: not asked for, or not to be had
`
