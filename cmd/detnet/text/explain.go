package text

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// Explanation is everything in a status that concerns one pod.
type Explanation struct {
	App       *status.App       `json:"app,omitempty"`
	Sender    *status.Sender    `json:"sender,omitempty"`
	Reasons   []status.Reason   `json:"reasons"`
	Decisions []status.Decision `json:"decisions"`
	Problems  []status.Problem  `json:"problems,omitempty"`
}

// ErrUnknown reports that a status has nothing on a pod.
var ErrUnknown = errors.New("the controller knows of no such pod that is protected, or may be limited: it does not exist, does not run, has no label detnet.dev/priority, is of a class with neither targets nor limits, or its namespace is off")

// Explain gathers what concerns pod, "namespace/name".
func Explain(s *status.Status, pod string) (Explanation, error) {
	var e Explanation
	for i := range s.Apps {
		if s.Apps[i].Pod == pod {
			e.App = &s.Apps[i]
		}
	}
	for i := range s.Senders {
		if s.Senders[i].Pod == pod {
			e.Sender = &s.Senders[i]
		}
	}
	for _, p := range s.Problems {
		if p.Object == "pod "+pod {
			e.Problems = append(e.Problems, p)
		}
	}
	if e.App == nil && e.Sender == nil && e.Problems == nil {
		return e, fmt.Errorf("pod %s: %w", pod, ErrUnknown)
	}
	var node string
	if e.App != nil {
		node = e.App.Node
	} else if e.Sender != nil {
		node = e.Sender.Node
	}
	for _, r := range s.Reasons {
		if r.App == pod || r.For == pod || r.Bottleneck == plan.Uplink(node) || r.Bottleneck == plan.Cluster {
			e.Reasons = append(e.Reasons, r)
		}
	}
	for _, d := range s.Decisions {
		own := slices.ContainsFunc(d.Limits, func(l status.Limit) bool { return l.Pod == pod })
		if own || (e.App != nil && d.App == pod) {
			e.Decisions = append(e.Decisions, d)
		}
	}
	return e, nil
}

// Text writes e for people.
func (e Explanation) Text(out io.Writer) {
	if a := e.App; a != nil {
		fmt.Fprintf(out, "%s on %s is critical (rank %d), measured by %s.\n", a.Pod, a.Node, a.Rank, probe(a))
		if a.Query != "" {
			fmt.Fprintf(out, "  query %s\n", a.Query)
		}
		explainTargets(out, a)
		for _, s := range a.Sessions {
			explainSession(out, "  from "+s.From, s)
			if s.NodeSession != nil {
				explainSession(out, "    node session, the agent on "+a.Node, *s.NodeSession)
			}
		}
	}
	if p := e.Sender; p != nil {
		fmt.Fprintf(out, "%s on %s may be limited (rank %d, weight %d) between %v and %v.\n", p.Pod, p.Node, p.Rank, p.Weight, p.MinBps, p.MaxBps)
		fmt.Fprintf(out, "  limit in force %s, usage %s, mode %s\n", limit(p.LimitBps), usage(*p), p.Mode)
		if 0 < p.LimitBps && p.LimitBps < p.MinBps {
			fmt.Fprintln(out, "  that is below its floor: the floors of those that send come to more than fits, or before Cilium a change is under way")
		}
		if p.Refused != "" {
			fmt.Fprintf(out, "  its limit can't be changed, and what it sends is not controlled: %s\n", p.Refused)
		}
		if p.OverLimit != "" {
			fmt.Fprintf(out, "  little of what it sends may get through: %s\n", p.OverLimit)
		}
	}
	for _, p := range e.Problems {
		fmt.Fprintf(out, "  problem: %s\n", p.Text)
	}
	fmt.Fprintln(out, "\nNow:")
	for _, r := range e.Reasons {
		fmt.Fprintf(out, "  %s%s: %s, because %s\n", r.Bottleneck, phase(r), action(r), sentence(r))
		if r.For != "" {
			fmt.Fprintf(out, "    for %s, since %s, %s less is let through than was sent\n", r.For, r.Since.Format("15:04:05"), rate(r.TakenBps))
		}
	}
	if len(e.Reasons) == 0 {
		fmt.Fprintln(out, "  nothing is decided about it")
	}
	fmt.Fprintln(out, "\nBefore, newest first:")
	for _, d := range e.Decisions {
		fmt.Fprintf(out, "  %s  %s, because %s\n", d.At.Format("15:04:05.000"), action(d.Reason), sentence(d.Reason))
		for _, l := range d.Limits {
			fmt.Fprintf(out, "    %s: %s → %s\n", l.Pod, limit(l.FromBps), limit(l.ToBps))
		}
	}
	if len(e.Decisions) == 0 {
		fmt.Fprintln(out, "  nothing that the controller remembers")
	}
}

// probe is how the app is measured.
func probe(a *status.App) string {
	if a.DSCP == "" || a.DSCP == workload.DSCP(0).String() {
		return a.Probe
	}
	return a.Probe + " with DSCP " + a.DSCP
}

func explainSession(out io.Writer, which string, s status.Session) {
	if s.Blind {
		fmt.Fprintf(out, "%s: blind, %s\n", which, s.Error)
		return
	}
	if s.LagMs > 0 {
		fmt.Fprintf(out, "%s: base %s, jitter %s, latency %s, up to %.0f s late\n",
			which, ms(s.BaseMs), ms(s.Measured.JitterMs), ms(s.Measured.LatencyMs), s.LagMs/1000)
		return
	}
	fmt.Fprintf(out, "%s: base %s, jitter %s, latency %s, loss %s, of %d samples\n",
		which, ms(s.BaseMs), ms(s.Measured.JitterMs), ms(s.Measured.LatencyMs), percent(s.Measured.Loss), s.Samples)
}

func explainTargets(out io.Writer, a *status.App) {
	if a.State == status.Blind {
		why := "no session has seen anything lately"
		if a.Nobody != "" {
			why = a.Nobody
		}
		fmt.Fprintf(out, "  nobody measures it, because %s: limits are held as they are\n", why)
		return
	}
	fmt.Fprintf(out, "  state %s, %s of its probes in violation over the last five seconds\n", a.State, percent(a.ViolationRatio))
	if a.IdleMs > 0 {
		fmt.Fprintf(out, "  its target cannot be met: the idle path shows %s\n", ms(a.IdleMs))
	}
	for _, t := range []struct {
		name             string
		measured, target float64
		format           func(float64) string
	}{
		{"jitter", a.Measured.JitterMs, a.Target.JitterMs, ms},
		{"latency", a.Measured.LatencyMs, a.Target.LatencyMs, ms},
		{"loss", a.Measured.Loss, a.Target.Loss, percent},
	} {
		if t.target > 0 {
			fmt.Fprintf(out, "  %s %s, at most %s is asked for\n", t.name, t.format(t.measured), t.format(t.target))
		}
	}
}

func phase(r status.Reason) string {
	if r.Phase == "" {
		return ""
	}
	return " (" + string(r.Phase) + ")"
}

// causes in words. docs/controller.md has them, too.
var causes = map[plan.Cause]string{
	plan.Violation:     "a target is exceeded, or a queue stands that takes half of what it leaves",
	plan.Confirming:    "a target was exceeded once; a second look decides",
	plan.AwaitEffect:   "a change is on its way and has not shown yet",
	plan.Calm:          "every target behind it is well kept",
	plan.Unused:        "the senders do not use what they may",
	plan.NearTarget:    "a target is neither exceeded nor well kept",
	plan.Blind:         "there are too few samples",
	plan.Unresponsive:  "limiting did not help: the cause is elsewhere",
	plan.CannotMeet:    "a target cannot be met: the idle path shows more, and limiting others does not change that",
	plan.TooCostly:     "limiting others for it has cost them as much as it may (laws.adaptive.harm): it is let be for a while",
	plan.NotNetwork:    "a target is exceeded, but the agent beside the workload is on time: its host or process is late, not the network",
	plan.AtFloor:       "every sender is at its floor: nothing is left to take",
	plan.NotThrottling: "there is nobody to limit here",
}

// sentence says a reason in words.
func sentence(r status.Reason) string {
	why := causes[r.Cause]
	if why == "" {
		why = string(r.Cause)
	}
	if b := because(r); b != "" {
		why += fmt.Sprintf(" (%s, %d samples)", b, r.Samples)
	}
	if r.FromBps != r.ToBps {
		why += fmt.Sprintf("; budget %s → %s at a usage of %s", limit(r.FromBps), limit(r.ToBps), rate(r.UsageBps))
	}
	return why
}
