package law

import (
	"math"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// relieve cuts, unless doubt, futility or the floors speak against it.
func (t *turn) relieve(b *Budget) plan.Reason {
	v := t.verdict
	if v.tail && b.Measured && float64(t.load.peak) < 0.85*float64(b.Total) {
		return t.reason(b, plan.Hold, plan.NearTarget) // the link is known to hold more than this
	}
	if v.tail && !(t.raised(b) && v.worst.recent > v.soft) { // after a raise there is little doubt
		if b.Doubted.IsZero() {
			b.Doubted = t.now
		}
		if t.now.Sub(b.Doubted) < t.law.Window*9/10 {
			return t.reason(b, plan.Hold, plan.Confirming)
		}
	}
	if t.early(b) {
		return t.reason(b, plan.Hold, plan.Confirming)
	}
	again := b.Cuts > 0 && !b.RaisedAt.After(b.CutAt)
	switch {
	case !again:
		b.Began, b.Before, b.Standing, b.Fruitless = t.now, b.Total, v.worst.recent, 0
	case b.Depth >= telling && float64(v.worst.recent) > 0.7*float64(b.Standing):
		b.Fruitless++
	}
	b.CleanAt = time.Time{}
	spent := !t.load.room || t.load.peak < bitrate.Mbit
	switch {
	case b.Cuts > 0 && spent, b.Fruitless >= t.law.Fruitless, b.Cuts >= 2*t.law.Fruitless:
		t.escalate = true
		t.giveUp(b)
		return t.reason(b, plan.Restore, plan.Unresponsive)
	case spent && v.worst.path != nil && !v.worst.path.Sure:
		t.sure() // nobody sends: this is what the empty path takes
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case spent:
		t.escalate = true
		return t.reason(b, plan.Hold, plan.AtFloor)
	}
	t.cut(b, again)
	return t.reason(b, plan.Cut, plan.Violation)
}

// early reports whether the queue is younger than what is known of the senders:
// a cut below the usage of before would be far too deep.
func (t *turn) early(b *Budget) bool {
	if t.verdict.lossy || float64(t.load.peak) >= 0.85*float64(b.Total) {
		return false
	}
	began := onset(t.ramp(b.since(t.now)), t.law.Window)
	return t.load.seen.Before(began.Add(subWindow*6/10)) && t.now.Sub(began) < 5*subWindow
}

// proven is the share of what was good before that is given out again.
const proven = 0.985

// telling is the depth of a cut that a queue must answer to: a gentle one may
// just not have been enough.
const telling = 0.15

// cleanFor is how long a bottleneck must be clean for its cuts to count as
// having helped: a cause elsewhere comes and goes as it likes in between.
const cleanFor = time.Second

// clean notes a look without a violation.
func (b *Budget) clean(now time.Time) {
	if b.CleanAt.IsZero() {
		b.CleanAt = now
	}
	if now.Sub(b.CleanAt) >= cleanFor {
		b.Cuts = 0
	}
}

// giveUp puts the budget back: cuts did not move the signal.
func (t *turn) giveUp(b *Budget) {
	b.Total, b.Capacity = b.Before, b.Known
	b.Draining, b.Exploring, b.Testing = false, false, false
	b.GaveUpAt, b.Fruitless, b.Cuts = t.now, 0, 0
}

// tested ends a cut that was made to learn the base of a path: the delay that
// was there from the start either went away with it, or belongs to the path.
func (t *turn) tested(b *Budget) plan.Reason {
	b.Testing = false
	t.sure()
	if raw := t.verdict.worst.path.RTT.value(); float64(raw) > 0.8*float64(b.Standing) {
		t.giveUp(b)
		return t.reason(b, plan.Restore, plan.Unresponsive)
	}
	return t.reason(b, plan.Hold, plan.AwaitEffect)
}

// cut lowers the budget below what fits through, by as much as it takes to
// empty the standing queue within the drain time: a queue of d seconds leaves
// at 1 − B/C seconds a second. Where nothing tells the capacity the cut is
// deep, and how fast the queue then leaves will tell it.
func (t *turn) cut(b *Budget, again bool) {
	v, l := t.verdict, t.law
	b.Upper = min(b.Total, t.load.peak)
	depth := t.queue().Seconds() / l.Drain.Seconds()
	raised := t.raised(b)
	explore, most := false, l.MaxCut
	if !again {
		b.Known = b.Capacity
		b.Rise, b.RiseInflow = rising(t.ramp(b.since(t.now))), b.Upper
		b.Used = b.Upper
	}
	switch {
	case again && b.Capacity != 0 && b.Fruitless == 0 && v.standing:
		depth = max(2*depth, telling) // not enough for the queue that was on its way
	case !v.standing && v.worst.recent <= v.soft && b.Fruitless == 0: // gently: most packets are well
		if !again && (b.Capacity == 0 || raised) {
			b.Capacity = b.Upper
		}
		depth = max(l.MinCut, telling*float64(b.Cuts))
	case !again && b.Rise != 0 && (b.Capacity != 0 || raised):
		b.Capacity, b.Measured = alone(b.Upper, b.Rise), true
		if raised {
			b.Capacity = max(b.Capacity, min(scale(b.Proven, proven/l.Settle), b.Upper))
		}
	case !again && raised && b.Proven > 0:
		b.Capacity, b.Measured = scale(b.Proven, proven/l.Settle), true // back to what was good
		explore = float64(b.Upper) > 1.1*float64(b.Capacity)
	case b.Fruitless == 0 && v.worst.recent < 2*v.allow && (b.Capacity != 0 || v.worst.slope < 0.1),
		b.Fruitless == 0 && v.worst.recent < 5*v.allow && b.Measured && v.worst.slope < 0.1:
		b.Capacity = b.Upper // a shallow queue: a little too much
	default:
		b.Capacity, b.Measured, depth = 0, false, 1
		most = 1 - math.Pow(1-l.MaxCut, float64(1+b.Fruitless)) // half, then a quarter, then an eighth
	}
	b.Overshot = raised && !again
	t.wait(b, raised)
	reference := b.Capacity
	if reference == 0 {
		reference = b.Upper
	}
	b.Total = max(scale(reference, 1-min(max(depth, l.MinCut), most)), min(t.load.floors, b.Total))
	b.Depth = 1 - float64(b.Total)/float64(b.Used)
	b.Proven, b.Exploring = 0, explore
	b.InForce = t.load.limits
	b.CutAt, b.Draining, b.Doubted, b.ProbeStep = t.now, true, time.Time{}, l.RaiseStep
	b.EffectBy = t.now.Add(t.feedback)
	b.Cuts++
	b.Testing = v.worst.path != nil && !v.worst.path.Sure
}

// wait sets how long it takes until more is tried for again: longer each time
// that there was no more. Capacity that was lost may come back soon.
func (t *turn) wait(b *Budget, raised bool) {
	least := t.law.ProbeEvery
	if b.fallen() {
		least /= 12
	}
	wait := 2 * b.ProbeWait
	if !b.Measured || !raised {
		wait = 0
	}
	b.ProbeWait = max(least, 20*t.verdict.lag, min(wait, t.law.MaxProbeEvery)) // a touch is seen late and lasts
}

// fallen reports whether less fits through than once did.
func (b *Budget) fallen() bool {
	return b.Capacity != 0 && float64(b.Capacity) < 0.9*float64(b.Best)
}

// raised reports whether the last raise is so recent that trouble is its doing.
func (t *turn) raised(b *Budget) bool {
	return t.now.Sub(b.RaisedAt) < 2*t.law.RaiseEvery+2*t.feedback+2*t.verdict.lag
}

// touched reports whether the newest samples are late after a try for more: there
// is little doubt then, and a queue of less than the target is quickly undone.
func (t *turn) touched(b *Budget) bool {
	trying := !b.ProbeAt.After(b.RaisedAt)
	return trying && t.raised(b) && t.verdict.allow != 0 && t.verdict.worst.recent > t.verdict.soft
}

// queue is how long the queue will be when a cut made now takes effect.
func (t *turn) queue() time.Duration {
	r := t.verdict.worst
	growth := min(max(r.slope, 0), 1) * (t.feedback + subWindow).Seconds()
	return r.recent + time.Duration(growth*float64(time.Second))
}
