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
		l.settle(b, v, now)
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
// 1 − B/C seconds a second. A cut that follows a fruitless one goes deeper.
func (l adaptive) cut(b *Budget, v verdict, u load, again bool, now time.Time) {
	used := min(b.Total, u.peak)
	reference := used
	switch probing := now.Sub(b.RaisedAt) < 4*l.RaiseEvery; {
	case again:
		b.Capacity = 0
	case probing && b.Proven > 0:
		// The last raise was too much and the one before was not.
		b.Capacity = b.Proven
		b.ProbeWait = min(max(2*b.ProbeWait, l.ProbeEvery), l.MaxProbeEvery)
		reference = min(used, b.Capacity)
	default:
		b.Capacity, b.ProbeWait = 0, l.ProbeEvery
	}
	deep := float64(1+b.Fruitless) * float64(v.worst.median) / float64(l.Drain)
	b.Total = scale(reference, 1-min(max(deep, l.MinCut), l.MaxCut))
	b.Upper, b.Proven = used, 0
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
func (l adaptive) settle(b *Budget, v verdict, now time.Time) {
	wait := b.ProbeWait
	if b.Capacity == 0 {
		b.Capacity = b.Upper
		if fits, ok := l.drained(b, v); ok && fits < b.Upper {
			b.Capacity = fits
		} else if scale(b.Upper, 0.8) > b.Total {
			b.Capacity = (b.Upper + b.Total) / 2
		}
		if b.Capacity < scale(b.Upper, 0.97) {
			wait = 2 * l.RaiseEvery // a guess, to be tried soon
		}
	}
	b.Total = max(b.Total, scale(b.Capacity, l.Settle))
	b.Draining, b.Backoff = false, 0
	b.RaisedAt, b.ProbeAt = now, now.Add(wait)
}

// drained estimates the capacity from how fast the queue fell after the cut
// took effect: C = B/(1 + slope).
func (l adaptive) drained(b *Budget, v verdict) (bitrate.Rate, bool) {
	if v.worst.session == nil {
		return 0, false
	}
	base := v.worst.path.RTT.value()
	var falling []plan.Sample
	for _, s := range v.worst.session.Samples {
		d := s.RTT - base
		if s.Lost || s.At.Before(b.CutAt) || d < v.soft || d > b.Standing*9/10 {
			continue
		}
		falling = append(falling, s)
	}
	if len(falling) < 3 {
		return 0, false
	}
	m := slope(falling)
	if m >= -0.01 || m < -0.9 {
		return 0, false
	}
	return scale(b.Total, 1/(1+m)), true
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
