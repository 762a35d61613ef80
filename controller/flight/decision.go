package flight

import (
	"slices"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// Decision is what a replay decided for one bottleneck.
type Decision struct {
	status.Decision
	Differs bool `json:"differs"`
	// Recorded is what was decided then, where it differs; none if there was no
	// decision for that bottleneck. A decision without an action is one that
	// the replay did not make.
	Recorded *status.Decision `json:"recorded,omitempty"`
}

// News tells which decisions of a replay are new, and counts those that differ.
type News struct {
	Steps     int
	Different int // plans
	last      map[mind]thought
}

type mind struct {
	mode       workload.ControlMode
	bottleneck plan.Bottleneck
}

type thought struct {
	action  plan.Action
	cause   plan.Cause
	app     plan.PodID
	differs bool
}

// part is what a plan says of one bottleneck.
type part struct {
	reason plan.Reason
	limits []plan.Limit
}

func partOf(p plan.Plan, bottleneck plan.Bottleneck) (part, bool) {
	for i, r := range p.Reasons {
		if r.Bottleneck != bottleneck {
			continue
		}
		found := part{reason: r}
		for _, l := range p.Limits {
			if l.Reason == i {
				l.Reason = 0
				found.limits = append(found.limits, l)
			}
		}
		return found, true
	}
	return part{}, false
}

// Of returns the decisions of one step: all, or where the law changed its mind
// or a limit, or began to differ from what was recorded.
func (n *News) Of(r Replayed, all bool) []Decision {
	n.Steps++
	next := map[mind]thought{}
	var out []Decision
	different := false
	for _, name := range r.bottlenecks() {
		now, has := partOf(r.Again, name)
		then, had := partOf(r.Plan, name)
		if slices.Contains(r.Partly, name.Node) { // nobody can tell
			now, has = then, had
		}
		same := has == had && now.reason == then.reason && slices.Equal(now.limits, then.limits)
		different = different || !same
		who := mind{r.Mode, name}
		t := thought{now.reason.Action, now.reason.Cause, now.reason.App, !same}
		next[who] = t
		if !all && n.last[who] == t && len(now.limits) == 0 && (same || len(then.limits) == 0) {
			continue
		}
		d := Decision{Decision: now.decision(r, name), Differs: !same}
		if !same && had {
			recorded := then.decision(r, name)
			d.Recorded = &recorded
		}
		out = append(out, d)
	}
	for who, t := range n.last {
		if who.mode != r.Mode {
			next[who] = t
		}
	}
	n.last = next
	if different {
		n.Different++
	}
	return out
}

// bottlenecks are those about which something was decided, then or again, and that are
// recorded.
func (r *Replayed) bottlenecks() []plan.Bottleneck {
	names := bottlenecks(r.Again)
	for _, name := range bottlenecks(r.Plan) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if r.Part == nil {
		return names
	}
	return slices.DeleteFunc(names, func(b plan.Bottleneck) bool { return !slices.Contains(r.Part, b.Node) })
}

func bottlenecks(p plan.Plan) []plan.Bottleneck {
	var names []plan.Bottleneck
	for _, r := range p.Reasons {
		names = append(names, r.Bottleneck)
	}
	return names
}

func (p part) decision(r Replayed, bottleneck plan.Bottleneck) status.Decision {
	d := status.Decision{At: r.Plan.At, Reason: status.FromReason(p.reason)}
	d.Bottleneck, d.Observed = bottleneck, r.Mode == workload.Observe
	for _, l := range p.limits {
		d.Limits = append(d.Limits, status.Limit{Pod: l.Pod.String(), FromBps: l.From, ToBps: l.To})
	}
	return d
}
