package law

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// settleTime is how long a change that was asked for may take to be in force
// before the limits in force are believed instead.
const settleTime = 3 * time.Second

// touched is when the budget was last changed.
func (b Budget) touched() time.Time {
	return maxTime(maxTime(b.CutAt, b.RaisedAt), b.GaveUpAt)
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
	usual := r.state.Feedback.p95(r.law.Feedback)
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
		g.pending = g.pending || r.state.Feedback.awaits(s.Pod, r.o.At, usual)
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
	worst, index, partial, awaited := verdict{blind: true, silent: true}, -1, false, false
	var slowest time.Duration
	for i := range r.o.Apps {
		app := &r.o.Apps[i]
		v := r.verdicts[i]
		if !concerns(name, app, r.state.Suspects[i], !v.blind && v.violated()) {
			continue
		}
		worst.silent = false
		if !v.assumed && r.o.At.Sub(since) < r.law.Stale+r.law.LossWindow+2*v.lag {
			v = r.law.judge(app, r.paths, since, r.o.At)
		}
		if v.blind {
			awaited = awaited || v.lag == 0 && r.troubled(i, name) // slow signals are not waited for
			partial = partial || name == nodeUplink(app.Node) && r.verdicts[i].blind
			slowest = max(slowest, v.lag)
			continue
		}
		v.excused = v.violated() && r.state.Suspects[i].excused(v, r.o.At)
		if index < 0 || cmp.Or(cmp.Compare(v.urgency(), worst.urgency()), cmp.Compare(v.excess, worst.excess)) > 0 {
			worst, index = v, i
		}
	}
	worst.partial, worst.awaited = partial, awaited
	if worst.blind {
		worst.lag = slowest
	}
	return worst, index
}

// troubled reports whether an app in trouble blames a bottleneck, by all of its
// samples, and is not left alone.
func (r *round) troubled(app int, name string) bool {
	s, v := r.state.Suspects[app], r.verdicts[app]
	return s.Bottleneck == name && v.violated() && !s.excused(v, r.o.At)
}

// ramp is the delays that all sessions with a say in a bottleneck saw since a
// time, in the order of sending.
func (r *round) ramp(name string, from time.Time) []delay {
	var ramp []delay
	for i := range r.o.Apps {
		app := &r.o.Apps[i]
		v := r.verdicts[i]
		if !concerns(name, app, r.state.Suspects[i], v.violated()) || v.violated() && r.state.Suspects[i].excused(v, r.o.At) {
			continue
		}
		for k := range app.Sessions {
			session := &app.Sessions[k]
			if session.Lag > 0 || name == nodeUplink(app.Node) && session.Vantage == app.Node ||
				name != nodeUplink(app.Node) && name != cluster && name != nodeUplink(session.Vantage) {
				continue
			}
			if beside := witness(app, session); beside != nil && len(beside.Samples) > 0 {
				session = beside // knows of queues alone
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
		was[k] = LimitState{Pod: s.Pod, Limit: limitOf(s), At: r.o.At}
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
func recall(g group, was []LimitState) []bitrate.Rate {
	to := make([]bitrate.Rate, len(g.members))
	for k, s := range g.senders {
		to[k] = limitOf(*s)
		if w, found := slices.BinarySearchFunc(was, s.Pod, func(l LimitState, id plan.PodID) int { return l.Pod.Compare(id) }); found {
			to[k] = max(to[k], was[w].Limit)
		}
	}
	return to
}
