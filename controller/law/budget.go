package law

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// load is what the senders behind a bottleneck do.
type load struct {
	peak   bitrate.Rate // of their sum
	limits bitrate.Rate // sum of the limits in force
	bound  bool         // somebody is held back by a limit
	room   bool         // somebody is above the floor
	more   bool         // somebody is below the ceiling
}

// decision is what a bottleneck's budget came to.
type decision struct {
	reason   plan.Reason
	escalate bool // cuts do not help here: look elsewhere
}

// decide is the adaptive law for one bottleneck. It updates the budget.
func (l adaptive) decide(b *Budget, v verdict, u load, now time.Time, feedback time.Duration) decision {
	from := b.Total
	act := func(a plan.Action, c plan.Cause) decision {
		return decision{reason: plan.Reason{
			Bottleneck: b.Name, Action: a, Cause: c, Usage: u.peak, From: from, To: b.Total, Feedback: feedback,
		}}
	}
	if !v.tail {
		b.Doubtful = 0
	}
	switch {
	case v.blind && now.Sub(b.EffectBy) < l.Stale:
		return act(plan.Hold, plan.AwaitEffect)
	case v.blind && l.Blind == BlindDecrease && now.Sub(b.CutAt) >= time.Second && u.room:
		b.Total = scale(min(b.Total, u.peak), 1-l.MinCut)
		b.CutAt, b.EffectBy, b.Draining = now, now.Add(feedback), false
		return act(plan.Cut, plan.Blind)
	case v.blind:
		return act(plan.Hold, plan.Blind)
	case now.Before(b.EffectBy), l.emptying(b, v, now):
		return act(plan.Hold, plan.AwaitEffect)
	case v.violated():
		return l.relieve(b, v, u, now, feedback, act)
	}
	b.Fruitless = 0
	if !b.GaveUpAt.IsZero() && now.Sub(b.GaveUpAt) > 10*time.Second {
		b.GaveUpAt = time.Time{}
	}
	switch {
	case b.Draining:
		l.settle(b, v, u, now)
		return act(plan.Grow, plan.Calm)
	case v.partial:
		return act(plan.Hold, plan.Blind)
	case !l.calm(v):
		return act(plan.Hold, plan.NearTarget)
	case !u.more, !u.bound && float64(u.peak) < 0.85*float64(b.Total):
		return act(plan.Hold, plan.Unused)
	}
	if now.Sub(b.RaisedAt) >= l.RaiseEvery && float64(u.peak) > 0.9*float64(b.Total) {
		b.Proven = max(b.Proven, b.Total)
	}
	if now.Before(b.ProbeAt) || now.Sub(b.RaisedAt) < l.RaiseEvery {
		return act(plan.Hold, plan.Calm)
	}
	l.probe(b, now)
	return act(plan.Grow, plan.Calm)
}

// emptying reports whether the queue is on its way out after a cut: samples
// sent after the cut took effect are still late, but less and less.
func (l adaptive) emptying(b *Budget, v verdict, now time.Time) bool {
	return b.Draining && v.violated() && now.Sub(b.EffectBy) < 2*time.Second &&
		v.worst.slope < -0.03 && v.worst.recent < b.Standing
}

// relieve cuts, unless doubt, futility or the floors speak against it.
func (l adaptive) relieve(b *Budget, v verdict, u load, now time.Time, feedback time.Duration, act func(plan.Action, plan.Cause) decision) decision {
	if v.tail {
		b.Doubtful++
		if b.Doubtful < 2 {
			return act(plan.Hold, plan.Confirming)
		}
	}
	if now.Before(b.RetryAt) && (b.GaveUpAt.IsZero() || v.worst.median < 2*b.Standing+v.allow) {
		return act(plan.Hold, plan.Unresponsive)
	}
	again := now.Sub(b.EffectBy) < 2*time.Second
	if !again {
		b.Began, b.Before, b.Standing, b.Fruitless = now, b.Total, v.worst.median, 0
	} else if float64(v.worst.median) > 0.7*float64(b.Standing) {
		b.Fruitless++
	}
	if !u.room || u.peak < bitrate.Mbit {
		d := act(plan.Hold, plan.AtFloor)
		d.escalate = true
		return d
	}
	if b.Fruitless >= l.Fruitless {
		l.giveUp(b, now)
		d := act(plan.Restore, plan.Unresponsive)
		d.escalate = true
		return d
	}
	l.cut(b, v, u, again, now)
	b.EffectBy = now.Add(feedback)
	return act(plan.Cut, plan.Violation)
}

// cut lowers the budget below what is used, by as much as it takes to empty
// the standing queue within the drain time: a queue of d seconds leaves at
// 1 − B/C seconds a second. Without a capacity to go by the cut is deep, and how
// fast the queue leaves tells the capacity. After a raise it is known already,
// from how fast the queue came.
func (l adaptive) cut(b *Budget, v verdict, u load, again bool, now time.Time) {
	b.Upper = min(b.Total, u.peak)
	from, depth := b.Upper, float64(v.worst.median)/float64(l.Drain)
	fits, measured := bitrate.Rate(0), false
	if !again && now.Sub(b.RaisedAt) < 4*time.Second {
		fits, measured = capacity(v, b.RaisedAt, now, b.Upper)
	}
	switch {
	case measured:
		from, b.Capacity = fits, fits
		b.ProbeWait = min(max(2*b.ProbeWait, l.ProbeEvery), l.MaxProbeEvery)
	case v.tail || v.lossy:
		b.Capacity, depth = b.Upper, l.MinCut
	default:
		b.Capacity, b.ProbeWait, depth = 0, l.ProbeEvery, max(depth, l.MaxCut)
	}
	b.Total = scale(from, 1-min(max(depth, l.MinCut), l.MaxCut))
	b.Proven, b.Measured = 0, measured
	b.CutAt, b.Draining, b.Doubtful, b.ProbeStep = now, true, 0, l.RaiseStep
}

// giveUp puts the budget back: cuts did not move the signal.
func (l adaptive) giveUp(b *Budget, now time.Time) {
	b.Total, b.Draining, b.Capacity = b.Before, false, 0
	b.Backoff = min(max(2*b.Backoff, l.Backoff), l.MaxBackoff)
	b.GaveUpAt, b.RetryAt, b.Fruitless = now, now.Add(b.Backoff), 0
}

// settle ends a cut: the queue is empty, so the budget returns to a share of
// what fits through.
func (l adaptive) settle(b *Budget, v verdict, u load, now time.Time) {
	if b.Capacity == 0 {
		inflow := min(b.Total, u.peak)
		if fits, ok := capacity(v, b.CutAt, now, inflow); ok {
			b.Capacity, b.Measured = min(fits, b.Upper), true
		} else {
			b.Capacity = (b.Upper + b.Total) / 2
		}
	}
	wait := b.ProbeWait
	if !b.Measured {
		wait = 2 * l.RaiseEvery
	}
	b.Total = max(b.Total, scale(b.Capacity, l.Settle))
	b.Draining, b.Backoff = false, 0
	b.RaisedAt, b.ProbeAt = now, now.Add(wait)
}

// capacity measures what fits through a bottleneck from the slope of its queue
// between two times while inflow came in: C = B/(1 + slope). The ends of the
// ramp are left out: an empty queue and a full one have no slope.
func capacity(v verdict, from, to time.Time, inflow bitrate.Rate) (bitrate.Rate, bool) {
	if v.worst.session == nil {
		return 0, false
	}
	base := v.worst.path.RTT.value()
	var ramp []plan.Sample
	var top time.Duration
	for _, s := range v.worst.session.Samples {
		if !s.Lost && s.At.After(from) && s.At.Before(to) {
			ramp = append(ramp, s)
			top = max(top, s.RTT-base)
		}
	}
	inside := ramp[:0]
	for _, s := range ramp {
		if d := s.RTT - base; d > v.soft && d < top-top/8 {
			inside = append(inside, s)
		}
	}
	slope, explained := fit(inside)
	if len(inside) < 3 || explained < 0.8 || slope < -0.8 {
		return 0, false
	}
	return scale(inflow, 1/(1+slope)), true
}

// probe tries for more than the capacity known so far; each step that finds an
// empty queue doubles the next.
func (l adaptive) probe(b *Budget, now time.Time) {
	if b.ProbeStep == 0 {
		b.ProbeStep = l.RaiseStep
	}
	b.Total = scale(b.Total, 1+b.ProbeStep)
	b.ProbeStep = min(2*b.ProbeStep, l.MaxRaise)
	b.RaisedAt, b.ProbeAt = now, now.Add(l.RaiseEvery)
}

func scale(r bitrate.Rate, by float64) bitrate.Rate { return bitrate.Rate(float64(r) * by) }
