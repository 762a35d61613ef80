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
	senders  []*plan.Sender
	sure     func() // the bases of the paths are known now
	from     bitrate.Rate
	escalate bool // cuts do not help here: look elsewhere
}

// decide is the adaptive law for one bottleneck. It updates the budget.
func (t *turn) decide(b *Budget) plan.Reason {
	t.from = b.Total
	v := t.verdict
	if !v.tail {
		b.Doubted = time.Time{}
	}
	switch {
	case v.silent, v.blind && t.now.Sub(b.EffectBy) < t.law.Stale+2*v.lag:
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case v.blind:
		return t.blind(b)
	case t.unwritten(b) && t.now.Sub(b.CutAt) >= t.feedback:
		return t.insist(b)
	case b.Unwritten: // it is in force at last
		b.Unwritten, b.EffectBy = false, t.now.Add(t.feedback)
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case t.now.Before(b.EffectBy), t.emptying(b):
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case b.Testing && v.worst.path != nil:
		return t.tested(b)
	case v.awaited && (v.excused || !v.violated()): // who is well says nothing of who is not
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	case !v.excused && (v.violated() || t.touched(b)):
		return t.relieve(b)
	}
	b.clean(t.now)
	switch {
	case b.Draining:
		t.settle(b)
		if v.excused { // who is late has another cause, and the others are well again
			return t.reason(b, plan.Grow, plan.Unresponsive)
		}
		return t.reason(b, plan.Grow, plan.Calm)
	case v.excused:
		return t.reason(b, plan.Hold, plan.Unresponsive)
	case v.partial:
		return t.reason(b, plan.Hold, plan.Blind)
	case v.elsewhere != nil:
		return t.reason(b, plan.Hold, plan.NotNetwork)
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
	b.ProbeAt = maxTime(b.ProbeAt, t.now.Add(t.law.ProbeEvery/12)) // sight comes back without a jump
	b.Hum = Hum{}
	if t.law.Blind != BlindDecrease || t.now.Sub(b.CutAt) < time.Second || !t.load.room {
		return t.reason(b, plan.Hold, plan.Blind)
	}
	b.Total = scale(min(b.Total, t.load.peak), 1-t.law.MinCut)
	b.CutAt, b.EffectBy, b.Draining = t.now, t.now.Add(t.feedback), false
	return t.reason(b, plan.Cut, plan.Blind)
}

// pause is the least time between raises: each must have shown before the next.
func (t *turn) pause(b *Budget) time.Duration {
	shows := t.feedback + 2*t.law.Window + t.verdict.lag
	if b.Exploring || b.Capacity == 0 {
		return shows
	}
	return max(t.law.RaiseEvery, shows)
}

// grow tries for more than the capacity known so far when it is time to, or
// when the queue has become so quiet that there must be more. Each step that
// finds an empty queue doubles the next.
func (t *turn) grow(b *Budget) plan.Reason {
	used := float64(t.load.peak) >= 0.85*float64(b.Total)
	switch {
	case float64(b.Total) > (1+2*t.law.MaxRaise)*float64(t.load.limits),
		b.Capacity == 0 && float64(b.Total) > 1.05*float64(t.load.limits):
		return t.reason(b, plan.Hold, plan.Calm) // nobody carries raises out
	case !t.load.more, !t.load.bound && !used:
		return t.reason(b, plan.Hold, plan.Unused)
	case t.now.Sub(b.RaisedAt) < t.pause(b):
		return t.reason(b, plan.Hold, plan.Calm)
	}
	if float64(t.load.peak) >= 0.9*float64(b.Total) {
		b.Proven = max(b.Proven, b.Total)
	}
	if !used {
		b.Hum = Hum{}
	}
	relief := used && b.Hum.listen(t.now, t.verdict.hum) && !t.now.Before(b.ReliefAt)
	if relief {
		b.ReliefWait = min(max(2*b.ReliefWait, minReliefWait), maxReliefWait)
		b.ReliefAt = t.now.Add(b.ReliefWait)
	}
	if t.now.Before(b.ProbeAt) && !relief {
		return t.reason(b, plan.Hold, plan.Calm)
	}
	step := max(b.ProbeStep, t.law.RaiseStep)
	switch {
	case b.Capacity == 0: // limits of before may be far too low
		step = t.law.MaxRaise
	case b.Exploring: // a third of the way, by ratio, to what was too much
		step = max((math.Cbrt(float64(b.Upper)/float64(b.Total))-1)*t.quiet(), 2*t.law.RaiseStep)
	case relief:
		step = max(step, t.law.MaxRaise/2)
	}
	if relief && float64(b.Best) > 1.1*float64(b.Total) ||
		b.fallen() && !b.Exploring && float64(b.Total) > 1.1*float64(b.Capacity) {
		b.Total, b.Capacity = scale(b.Best, t.law.Settle), b.Best // back to what once fitted through
		b.RaisedAt, b.ProbeAt = t.now, t.now.Add(t.law.ProbeEvery)
		return t.reason(b, plan.Grow, plan.Calm)
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

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func near(a, b bitrate.Rate, share float64) bool {
	return max(a-b, b-a) <= scale(b, share)
}

func scale(r bitrate.Rate, by float64) bitrate.Rate { return bitrate.Rate(float64(r) * by) }
