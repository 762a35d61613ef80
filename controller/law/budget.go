package law

import (
	"math"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// load is what the senders behind a bottleneck do.
type load struct {
	peak   bitrate.Rate // of their sum
	limits bitrate.Rate // sum of the limits in force
	seen   time.Time    // end of the newest sub-window
	bound  bool         // somebody is held back by a limit
	floors bitrate.Rate // sum of the floors
	room   bool         // somebody is above the floor
	more   bool         // somebody is below the ceiling
}

// turn is one step of one bottleneck: what is known and what came of it.
type turn struct {
	law      adaptive
	now      time.Time
	feedback time.Duration // patch to effect, 95th percentile
	pending  bool          // a patch behind this bottleneck has yet to show
	verdict  verdict
	load     load
	ramp     func(from time.Time) []delay // of all sessions, for measuring
	sent     func(from, to time.Time) bitrate.Rate
	sure     func() // the bases of the paths are known now
	from     bitrate.Rate
	escalate bool // cuts do not help here: look elsewhere
}

// decide is the adaptive law for one bottleneck. It updates the budget.
func (t *turn) decide(b *Budget) plan.Reason {
	t.from = b.Total
	v := t.verdict
	if !v.tail {
		b.Doubtful = 0
	}
	switch {
	case v.blind && t.now.Sub(b.EffectBy) < t.law.Stale:
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case v.blind:
		return t.blind(b)
	case t.now.Before(b.EffectBy), t.unwritten(b), t.emptying(b):
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case b.Testing && v.worst.path != nil:
		return t.tested(b)
	case v.violated():
		return t.relieve(b)
	}
	b.clean(t.now)
	switch {
	case b.Draining:
		t.settle(b)
		return t.reason(b, plan.Grow, plan.Calm)
	case v.partial:
		return t.reason(b, plan.Hold, plan.Blind)
	case !t.law.calm(v):
		return t.reason(b, plan.Hold, plan.NearTarget)
	}
	return t.grow(b)
}

func (t *turn) reason(b *Budget, a plan.Action, c plan.Cause) plan.Reason {
	return plan.Reason{Bottleneck: b.Name, Action: a, Cause: c, Usage: t.load.peak, From: t.from, To: b.Total, Feedback: t.feedback}
}

// blind holds, or takes a little each second if it is told to.
func (t *turn) blind(b *Budget) plan.Reason {
	if t.law.Blind != BlindDecrease || t.now.Sub(b.CutAt) < time.Second || !t.load.room {
		return t.reason(b, plan.Hold, plan.Blind)
	}
	b.Total = scale(min(b.Total, t.load.peak), 1-t.law.MinCut)
	b.CutAt, b.EffectBy, b.Draining = t.now, t.now.Add(t.feedback), false
	return t.reason(b, plan.Cut, plan.Blind)
}

// unwritten reports whether the last cut is not in force at all: the writes are
// late or fail, or nobody carries plans out. It is planned again, and says
// nothing about its cause until it has been tried.
func (t *turn) unwritten(b *Budget) bool {
	if !b.Draining || t.load.limits <= scale(max(b.Total, t.load.floors), 1.1)+bitrate.Mbit {
		return false
	}
	b.EffectBy = t.now.Add(t.feedback)
	return true
}

// emptying reports whether the queue is on its way out after a cut, or may be:
// the patch has not been seen to work yet, or samples sent since are still
// late but less and less.
func (t *turn) emptying(b *Budget) bool {
	if !b.Draining || !t.verdict.violated() {
		return false
	}
	if t.pending || b.Awaited {
		b.EffectBy, b.Awaited = t.now, t.pending
		return true
	}
	return t.now.Sub(b.EffectBy) < 2*time.Second && t.verdict.worst.slope < -0.03 && t.verdict.worst.recent < b.Standing
}

// relieve cuts, unless doubt, futility or the floors speak against it.
func (t *turn) relieve(b *Budget) plan.Reason {
	v := t.verdict
	if v.tail && !t.raised(b) { // after a raise there is little doubt
		if b.Doubtful++; b.Doubtful < 2 {
			return t.reason(b, plan.Hold, plan.Confirming)
		}
	}
	if t.early(b) {
		return t.reason(b, plan.Hold, plan.Confirming)
	}
	if v.excused {
		if b.Cuts > 0 {
			t.giveUp(b)
			return t.reason(b, plan.Restore, plan.Unresponsive)
		}
		return t.reason(b, plan.Hold, plan.Unresponsive)
	}
	again := b.Cuts > 0 && !b.RaisedAt.After(b.CutAt)
	switch {
	case !again:
		b.Began, b.Before, b.Standing, b.Fruitless = t.now, b.Total, v.worst.level(), 0
	case b.CleanAt.IsZero() && float64(v.worst.level()) > 0.7*float64(b.Standing):
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
	began := onset(t.ramp(t.now.Add(-rampTime)))
	return t.load.seen.Before(began.Add(subWindow*6/10)) && t.now.Sub(began) < 5*subWindow
}

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
		b.Rise, b.RiseInflow = rising(t.ramp(t.now.Add(-rampTime))), b.Upper
	}
	switch {
	case again && b.Measured && b.Fruitless == 0:
		depth = 2 * depth // right, but not enough for the queue that was on its way
	case !again && b.Capacity != 0 && b.Rise != 0:
		b.Capacity, b.Measured = alone(b.Upper, b.Rise), true
		if raised {
			b.Capacity = max(b.Capacity, min(b.Proven, b.Upper))
		}
	case !again && raised && b.Proven > 0:
		b.Capacity, b.Measured = scale(b.Proven, 1/l.Settle), true // back to what was good
		explore = float64(b.Upper) > 1.1*float64(b.Capacity)
	case v.tail || v.lossy:
		b.Capacity, depth = b.Upper, l.MinCut
	case b.Capacity != 0 && b.Fruitless == 0 && v.worst.level() < 2*v.allow:
		b.Capacity = b.Upper // a shallow queue: a little too much
	default:
		b.Capacity, b.Measured, depth = 0, false, 1
		most = 1 - math.Pow(1-l.MaxCut, float64(1+b.Fruitless)) // half, then a quarter, then an eighth
	}
	b.ProbeWait = l.ProbeEvery
	if b.Measured && raised {
		b.ProbeWait = min(max(2*b.ProbeWait, l.ProbeEvery), l.MaxProbeEvery)
	}
	reference := b.Capacity
	if reference == 0 {
		reference = b.Upper
	}
	b.Total = max(scale(reference, 1-min(max(depth, l.MinCut), most)), min(t.load.floors, b.Total))
	b.Proven, b.Exploring = 0, explore
	b.CutAt, b.Draining, b.Doubtful, b.ProbeStep = t.now, true, 0, l.RaiseStep
	b.EffectBy = t.now.Add(t.feedback)
	b.Cuts++
	b.Testing = v.worst.path != nil && !v.worst.path.Sure
}

// raised reports whether the last raise is so recent that trouble is its doing.
func (t *turn) raised(b *Budget) bool {
	return t.now.Sub(b.RaisedAt) < 2*t.law.RaiseEvery+2*t.feedback
}

// queue is how long the queue will be when a cut made now takes effect.
func (t *turn) queue() time.Duration {
	r := t.verdict.worst
	growth := min(max(r.slope, 0), 1) * (t.feedback + subWindow).Seconds()
	return r.level() + time.Duration(growth*float64(time.Second))
}

// settle ends a cut: the queue is empty, so the budget returns to a share of
// what fits through. Where the queue was too short to measure that, the budget
// feels its way up from where the queue emptied.
func (t *turn) settle(b *Budget) {
	if b.Capacity == 0 {
		t.measure(b)
	}
	wait := b.ProbeWait
	if b.Exploring {
		wait = 0
	}
	b.Best = max(b.Best, b.Capacity)
	if float64(b.Capacity) > 1.1*float64(b.Known) {
		b.ReliefWait = 0
	}
	b.Proven = min(b.Total, t.load.peak) // the queue emptied although this came in
	b.Total = max(b.Total, scale(b.Capacity, t.law.Settle))
	b.Draining = false
	b.Hum = hum{}
	b.RaisedAt, b.ProbeAt = t.now, t.now.Add(max(wait, t.pause()))
}

// measure sets the capacity from how fast the queue fell after the cut.
func (t *turn) measure(b *Budget) {
	down := falling(t.ramp(b.CutAt))
	if down == 0 {
		b.Capacity, b.Exploring, b.Measured = b.Total, true, false
		return
	}
	low := t.sent(b.CutAt.Add(2*subWindow), t.now)
	if low == 0 || low > b.Total {
		low = b.Total
	}
	// What came in just before the cut took effect is too much, or, if the
	// senders are elastic, just what fits.
	full := t.sent(b.CutAt.Add(-subWindow/2), b.CutAt.Add(subWindow/2))
	if full == 0 {
		full = b.Upper
	}
	b.Capacity, b.Measured = alone(low, down), true
	if b.Capacity > scale(full, 1.05) {
		// Elastic senders paused, and the queue fell faster than it should.
		b.Capacity, b.Upper, b.Exploring, b.Measured = scale(full, 0.9), full, true, false
		return
	}
	b.Capacity = min(b.Capacity, full)
	share, known := others(b.Rise, b.RiseInflow, down, low)
	if !(known && share < 0.2) && !near(full, b.Capacity, 0.08) {
		b.ProbeWait = t.law.ProbeEvery / 6 // others may be there: to be confirmed
	}
}

// pause is the least time between raises: each must have shown before the next.
func (t *turn) pause() time.Duration {
	return max(t.law.RaiseEvery, t.feedback+2*t.law.Window)
}

// grow tries for more than the capacity known so far when it is time to, or
// when the queue has become so quiet that there must be more. Each step that
// finds an empty queue doubles the next.
func (t *turn) grow(b *Budget) plan.Reason {
	used := float64(t.load.peak) >= 0.85*float64(b.Total)
	switch {
	case !t.load.more, !t.load.bound && !used:
		return t.reason(b, plan.Hold, plan.Unused)
	case t.now.Sub(b.RaisedAt) < t.pause():
		return t.reason(b, plan.Hold, plan.Calm)
	}
	if float64(t.load.peak) >= 0.9*float64(b.Total) {
		b.Proven = max(b.Proven, b.Total)
	}
	relief := used && b.Hum.listen(t.now, t.verdict.hum) && !t.now.Before(b.ReliefAt)
	if relief {
		b.ReliefWait = min(max(2*b.ReliefWait, minReliefWait), maxReliefWait)
		b.ReliefAt = t.now.Add(b.ReliefWait)
	}
	if relief && float64(b.Best) > 1.1*float64(b.Total) {
		b.Total = scale(b.Best, t.law.Settle)
		b.RaisedAt, b.ProbeAt = t.now, t.now.Add(t.law.ProbeEvery)
		return t.reason(b, plan.Grow, plan.Calm)
	}
	if t.now.Before(b.ProbeAt) && !relief {
		return t.reason(b, plan.Hold, plan.Calm)
	}
	step := max(b.ProbeStep, t.law.RaiseStep)
	switch {
	case b.Exploring: // a quarter of the way to what was too much
		gap := float64(b.Upper-b.Total) / float64(b.Total) / 4
		step = min(max(gap*t.quiet(), 2*t.law.RaiseStep), t.law.MaxRaise/2)
	case relief:
		step = max(step, t.law.MaxRaise/2)
	}
	b.Total = scale(b.Total, 1+step)
	if float64(b.Total) > 1.03*float64(b.Capacity) {
		b.ProbeStep = min(2*step, t.law.MaxRaise) // on new ground
	}
	b.RaisedAt, b.ProbeAt = t.now, t.now
	return t.reason(b, plan.Grow, plan.Calm)
}

// A host that is busy at times sounds like a link that is full at times: the
// hum is believed less and less often, until it was right.
const (
	minReliefWait = 30 * time.Second
	maxReliefWait = 5 * time.Minute
)

// quiet is how far the delay is from where raising would stop, 0…1.
func (t *turn) quiet() float64 {
	if t.verdict.allow == 0 {
		return 1
	}
	return max(0, 1-float64(t.verdict.worst.median)/(t.law.Calm*float64(t.verdict.soft)))
}

func near(a, b bitrate.Rate, share float64) bool {
	return max(a-b, b-a) <= scale(b, share)
}

func scale(r bitrate.Rate, by float64) bitrate.Rate { return bitrate.Rate(float64(r) * by) }
