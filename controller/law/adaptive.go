package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// adaptive keeps one budget per bottleneck below what fits through it, learned
// from the delay of probes, and divides it among the senders. docs/control-law.md
// explains it.
type adaptive struct{ AdaptiveConfig }

func (adaptive) Name() string { return Adaptive }

func (l adaptive) Step(s State, o plan.Observation) (State, plan.Plan) {
	o = ordered(o)
	next := State{
		At:       o.At,
		Paths:    observePaths(s.Paths, o.Apps),
		Uses:     observeUse(s.Uses, o.Senders, o.At),
		Feedback: s.Feedback.observe(o.Senders, o.At),
	}
	paths := indexPaths(next.Paths)
	verdicts := make([]verdict, len(o.Apps))
	for i := range o.Apps {
		verdicts[i] = l.judge(&o.Apps[i], paths, time.Time{}, o.At)
		if verdicts[i].blind && l.Blind == BlindAssume {
			verdicts[i] = l.assumption(&o.Apps[i])
		}
	}
	active := sending(o.Senders, next.Uses)
	next.Suspects = suspects(s.Suspects, s.Budgets, verdicts, active, o.At)

	r := round{law: l, o: o, state: &next, paths: paths, verdicts: verdicts, sending: active}
	for _, name := range bottlenecks(o, next.Suspects, s.Budgets) {
		r.bottleneck(name, budget(s.Budgets, name))
	}
	// An app whose suspect proved innocent names the next one, which may have
	// been passed already or not exist yet.
	for _, name := range r.accused {
		if !slices.ContainsFunc(next.Budgets, func(b Budget) bool { return b.Name == name }) {
			r.bottleneck(name, budget(s.Budgets, name))
		}
	}
	p := r.plan()
	next.Feedback.expect(p, o.Senders)
	return next, p
}

// ordered returns o with apps and senders in their order, so that
// equal observations give equal plans. It copies only what is out of order.
func ordered(o plan.Observation) plan.Observation {
	byPod := func(a, b plan.App) int { return a.Pod.Compare(b.Pod) }
	if !slices.IsSortedFunc(o.Apps, byPod) {
		o.Apps = slices.Clone(o.Apps)
		slices.SortStableFunc(o.Apps, byPod)
	}
	sender := func(a, b plan.Sender) int { return a.Pod.Compare(b.Pod) }
	if !slices.IsSortedFunc(o.Senders, sender) {
		o.Senders = slices.Clone(o.Senders)
		slices.SortStableFunc(o.Senders, sender)
	}
	return o
}

// bottlenecks lists the nodes that have senders and are measured, in order,
// and the cluster last where it is suspected or has been.
func bottlenecks(o plan.Observation, suspects []Suspect, known []Budget) []string {
	measured := map[string]bool{}
	for i := range o.Apps {
		measured[o.Apps[i].Node] = true
		for _, session := range o.Apps[i].Sessions {
			measured[session.Vantage] = true
		}
	}
	var names []string
	for i := range o.Senders {
		name := nodeUplink(o.Senders[i].Node)
		if measured[o.Senders[i].Node] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	suspected := slices.ContainsFunc(suspects, func(s Suspect) bool { return s.Bottleneck == cluster })
	// A learned budget stays until it has not been needed for long; letting go
	// of it changes no limit.
	if suspected || slices.ContainsFunc(known, func(b Budget) bool {
		return b.Name == cluster && b.Capacity != 0 && o.At.Sub(b.CutAt) < clusterMemory
	}) {
		names = append(names, cluster)
	}
	return names
}

// clusterMemory is how long after its last cut the cluster counts as one
// bottleneck.
const clusterMemory = 5 * time.Minute

func budget(known []Budget, name string) Budget {
	if i := slices.IndexFunc(known, func(b Budget) bool { return b.Name == name }); i >= 0 {
		return known[i]
	}
	return Budget{Name: name}
}

// round is one step in the making.
type round struct {
	law      adaptive
	o        plan.Observation
	state    *State
	paths    pathIndex
	verdicts []verdict // of each app, over all its samples
	sending  map[string]bool
	accused  []string // bottlenecks suspected anew
	shares   []shared // by bottleneck
}

// bottleneck decides on one budget and divides it.
func (r *round) bottleneck(name string, b Budget) {
	g := r.group(name)
	if b.Total == 0 || b.Capacity == 0 && !b.Draining && r.o.At.Sub(b.touched()) > settleTime {
		b.Total = g.load.limits // nothing learned: the budget is what is in force
	}
	if b.ProbeAt.IsZero() {
		// Limits of before may be far too low, or just right after a restart.
		b.ProbeAt = r.o.At.Add(r.law.ProbeEvery / 30)
	}
	v, app := r.verdict(name, b.EffectBy)
	reason := plan.Reason{Bottleneck: name, Action: plan.Hold, Cause: plan.NotThrottling}
	escalate := v.violated()
	if len(g.members) > 0 {
		t := turn{
			law: r.law, now: r.o.At, feedback: r.state.Feedback.p95(r.law.Feedback), pending: g.pending,
			verdict: v, load: g.load, ramp: func(from time.Time) []delay { return r.ramp(name, from) },
			senders: g.senders,
			sure:    func() { r.sure(name) },
		}
		reason, escalate = t.decide(&b), t.escalate
	}
	if escalate && app >= 0 {
		r.accuse(app, v, reason.Action == plan.Restore)
		if reason.Action == plan.Restore {
			r.acquit(name)
		}
	}
	s := shared{reason: explain(reason, v), members: g.members, total: b.Total, learned: b.Capacity != 0 || b.Draining}
	if reason.Action == plan.Cut && app >= 0 {
		r.state.Suspects[app].Since = r.o.At
	}
	if reason.Action == plan.Cut && b.Began.Equal(r.o.At) {
		b.Limits = r.snapshot(g.members)
	}
	if reason.Action == plan.Restore {
		s.to = recall(g, b.Limits)
	} else {
		s.to = r.divide(&b, g, reason.Action)
	}
	s.rebalance = s.learned && r.o.At.Sub(b.SharedAt) >= r.law.RebalanceEvery
	r.state.Budgets = append(r.state.Budgets, b)
	r.shares = append(r.shares, s)
}
