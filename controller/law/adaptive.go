package law

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
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
	}
	active := sending(o.Senders, next.Uses)
	next.Suspects = suspects(s.Suspects, verdicts, active, o.At)

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

// ordered returns o with apps, sessions and senders in their order, so that
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
		b.ProbeAt = r.o.At.Add(r.law.ProbeEvery)
	}
	v, app := r.verdict(name, b.EffectBy)
	reason := plan.Reason{Bottleneck: name, Action: plan.Hold, Cause: plan.NotThrottling}
	escalate := v.violated()
	if len(g.members) > 0 {
		t := turn{
			law: r.law, now: r.o.At, feedback: r.state.Feedback.p95(r.law.Feedback), pending: g.pending,
			verdict: v, load: g.load, ramp: func(from time.Time) []delay { return r.ramp(name, from) },
			sent: func(from, to time.Time) bitrate.Rate { return leastSum(g.senders, from, to) },
			sure: func() { r.sure(name) },
		}
		reason, escalate = t.decide(&b), t.escalate
	}
	if escalate && app >= 0 {
		r.accuse(app, v)
	}
	s := shared{reason: explain(reason, v), members: g.members, total: b.Total, learned: b.Capacity != 0 || b.Draining}
	if reason.Action == plan.Cut && b.Began.Equal(r.o.At) {
		b.Limits = r.snapshot(g.members)
	}
	if reason.Action == plan.Restore {
		s.to = recall(r.o, g, b.Limits)
	} else {
		s.to = r.divide(&b, g, reason.Action)
	}
	s.rebalance = s.learned && r.o.At.Sub(b.SharedAt) >= r.law.RebalanceEvery
	r.state.Budgets = append(r.state.Budgets, b)
	r.shares = append(r.shares, s)
}

// settleTime is how long a change that was asked for may take to be in force
// before the limits in force are believed instead.
const settleTime = 3 * time.Second

// touched is when the budget was last changed.
func (b Budget) touched() time.Time {
	last := b.CutAt
	for _, at := range []time.Time{b.RaisedAt, b.GaveUpAt} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// group is the senders behind a bottleneck.
type group struct {
	members []int // in Observation.Senders
	senders []*plan.Sender
	claims  []claim
	load    load
	pending bool // one of them has yet to obey
}

func (r *round) group(name string) group {
	var g group
	for i := range r.o.Senders {
		s := &r.o.Senders[i]
		if name != cluster && nodeUplink(s.Node) != name {
			continue
		}
		use := max(r.state.Uses[i].Now, r.state.Uses[i].Last)
		c := claimOf(*s, use, len(s.Rates) > 0)
		limit := limitOf(*s)
		g.load.bound = g.load.bound || bound(*s, use)
		g.load.floors += c.floor
		if n := len(s.Rates); n > 0 && s.Rates[n-1].At.After(g.load.seen) {
			g.load.seen = s.Rates[n-1].At
		}
		g.load.room = g.load.room || limit > c.floor
		g.load.more = g.load.more || limit < c.ceiling
		g.pending = g.pending || r.state.Feedback.awaits(s.Pod)
		g.members, g.senders, g.claims = append(g.members, i), append(g.senders, s), append(g.claims, c)
	}
	g.load.peak, g.load.limits = peakSum(g.senders, r.o.At), sumLimits(g.senders)
	return g
}

// divide shares the budget. While no capacity is known nobody is lowered in
// favour of another: a raise adds to the limits in force.
func (r *round) divide(b *Budget, g group, action plan.Action) []bitrate.Rate {
	claims := g.claims
	if b.Capacity == 0 && action == plan.Grow {
		claims = slices.Clone(claims)
		for k, i := range g.members {
			claims[k].floor = max(claims[k].floor, limitOf(r.o.Senders[i]))
		}
	}
	return share(b.Total, claims)
}

// verdict is that of the app in the worst trouble among those that have a say,
// and its index, or −1.
func (r *round) verdict(name string, since time.Time) (verdict, int) {
	worst, index, partial := verdict{blind: true}, -1, false
	fresh := r.o.At.Sub(since) < r.law.Stale+r.law.LossWindow
	for i := range r.o.Apps {
		app := &r.o.Apps[i]
		v := r.verdicts[i]
		if !concerns(name, app, r.state.Suspects[i], !v.blind && v.violated()) {
			continue
		}
		if fresh {
			v = r.law.judge(app, r.paths, since, r.o.At)
		}
		if v.blind {
			partial = partial || name == nodeUplink(app.Node)
			continue
		}
		v.excused = v.violated() && r.state.Suspects[i].excused(v, r.o.At)
		if index < 0 || cmp.Or(cmp.Compare(v.urgency(), worst.urgency()), cmp.Compare(v.excess, worst.excess)) > 0 {
			worst, index = v, i
		}
	}
	worst.partial = partial
	return worst, index
}

// ramp is the delays that all sessions with a say in a bottleneck saw since a
// time, in the order of sending.
func (r *round) ramp(name string, from time.Time) []delay {
	var ramp []delay
	for i := range r.o.Apps {
		app := &r.o.Apps[i]
		v := r.verdicts[i]
		if !concerns(name, app, r.state.Suspects[i], !v.blind && v.violated()) {
			continue
		}
		for k := range app.Sessions {
			session := &app.Sessions[k]
			if name == nodeUplink(app.Node) && session.Vantage == app.Node ||
				name != nodeUplink(app.Node) && name != cluster && name != nodeUplink(session.Vantage) {
				continue
			}
			base := r.paths[pathKey{app.Pod, session.ID}].base()
			for _, s := range session.Samples {
				if !s.Lost && s.At.After(from) {
					ramp = append(ramp, delay{s.At, s.RTT - base})
				}
			}
		}
	}
	slices.SortStableFunc(ramp, func(a, b delay) int { return a.at.Compare(b.at) })
	return ramp
}

// accuse moves an app's suspicion to the next candidate, or excuses everyone
// for a while, longer each time.
func (r *round) accuse(app int, v verdict) {
	s := &r.state.Suspects[app]
	if name := s.next(v, r.sending); name != "" {
		s.Tried = append(slices.Clip(s.Tried), s.Bottleneck)
		s.Bottleneck = name
		r.accused = append(r.accused, name)
		return
	}
	s.Backoff = min(max(2*s.Backoff, r.law.Backoff), r.law.MaxBackoff)
	s.RetryAt, s.Level = r.o.At.Add(s.Backoff), max(v.worst.median, v.worst.tail)
}

// sure takes the bases of the paths of all apps that blame a bottleneck as
// those of empty paths.
func (r *round) sure(name string) {
	for _, s := range r.state.Suspects {
		if s.Bottleneck != name {
			continue
		}
		for i := range r.state.Paths {
			if r.state.Paths[i].App == s.App {
				r.state.Paths[i].Sure = true
			}
		}
	}
}

// snapshot is the limits to return to if cuts do not help: those in force, or
// those that another bottleneck is returning to at this very step.
func (r *round) snapshot(members []int) []LimitState {
	was := make([]LimitState, len(members))
	for k, i := range members {
		s := r.o.Senders[i]
		was[k] = LimitState{Pod: s.Pod, Limit: s.Limit, At: r.o.At}
		for b, budget := range r.state.Budgets {
			if !budget.GaveUpAt.Equal(r.o.At) {
				continue
			}
			if at := slices.Index(r.shares[b].members, i); at >= 0 {
				was[k].Limit = max(was[k].Limit, r.shares[b].to[at])
			}
		}
	}
	return was
}

// recall is the limits as they were, for the senders that were there.
func recall(o plan.Observation, g group, was []LimitState) []bitrate.Rate {
	to := make([]bitrate.Rate, len(g.members))
	for k, i := range g.members {
		s := o.Senders[i]
		to[k] = limitOf(s)
		if w, found := slices.BinarySearchFunc(was, s.Pod, func(l LimitState, id plan.PodID) int { return l.Pod.Compare(id) }); found {
			to[k] = max(to[k], was[w].Limit)
			if was[w].Limit == 0 {
				to[k] = g.claims[k].ceiling
			}
		}
	}
	return to
}

// explain adds what was measured to a reason.
func explain(r plan.Reason, v verdict) plan.Reason {
	if v.app == nil || v.blind {
		return r
	}
	r.App, r.Samples = v.app.Pod, v.worst.samples
	switch {
	case v.lossy:
		r.Signal, r.Ratio = "loss", v.worst.lost
	case v.app.SLO.Jitter == 0 && v.app.SLO.Latency > 0 && v.worst.path != nil:
		r.Signal, r.Measured, r.Target = "latency", v.worst.tail+v.worst.path.RTT.value(), v.app.SLO.Latency
	default:
		r.Signal, r.Measured, r.Target = "jitter", max(v.worst.median, v.worst.tail), v.allow
	}
	return r
}
