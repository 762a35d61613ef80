package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Decide is one step of the state machine. It updates the budget.
func (t *Turn) Decide(b *Budget) plan.Reason {
	t.from = b.Total
	if t.Held {
		b.Link.Eased = t.Now
	}
	t.goesOn(b)
	v := t.Opinion
	if !v.Tail {
		b.Trouble.Doubted = time.Time{}
	}
	if b.Phase == plan.Doubting {
		b.Phase = b.Trouble.Resume
	}
	switch {
	case b.Phase == plan.Cutting && t.deepen(b):
		return t.reason(b, plan.Cut, plan.Violation)
	case v.Silent, v.Blind && t.Now.Sub(b.Link.EffectBy) < t.Sense.Stale+2*v.Lag:
		return t.hold(b, plan.AwaitEffect)
	case v.Blind:
		return t.blind(b)
	}
	return t.act(b)
}

// act has the handler of the phase decide. A cut that shows is draining, or a test, at once.
func (t *Turn) act(b *Budget) plan.Reason {
	if b.Phase == plan.Cutting {
		if r, shows := t.cutting(b); !shows {
			return r
		}
	}
	switch b.Phase {
	case plan.Testing:
		return t.testing(b)
	case plan.Draining:
		return t.draining(b)
	case plan.Released:
		return t.released(b)
	case plan.Trying:
		return t.trying(b)
	case plan.Settled:
		return t.settled(b)
	}
	return t.searching(b)
}

// blind holds, or takes a little each second if it is told to.
func (t *Turn) blind(b *Budget) plan.Reason {
	if t.withdraw(b) {
		return t.reason(b, plan.Cut, plan.Blind)
	}
	if b.Phase == plan.Trying {
		b.Phase = b.rest()
	}
	b.Search.At = later(b.Search.At, t.Now.Add(t.soon())) // sight comes back without a jump
	b.Search.Residual = Residual{}
	if !t.Decrease || t.Now.Sub(b.Link.Cut) < decreaseEvery || !t.Load.Room {
		return t.hold(b, plan.Blind)
	}
	b.Total, b.Search.Small = bitrate.Scale(min(b.Total, t.Load.Peak), 1-t.Config.MinCut), Small{}
	b.Link.Cut, b.Link.EffectBy = t.Now, t.Now.Add(t.Feedback)
	b.Phase = b.rest()
	return t.reason(b, plan.Cut, plan.Blind)
}

// decreaseEvery is a second, less what a round may come early by where there is one a second.
const decreaseEvery = 950 * time.Millisecond

// searching is open, where nothing is known of the capacity, and exploring, where it is between what
// is given out and an upper bound.
func (t *Turn) searching(b *Budget) plan.Reason {
	if r, busy := t.busy(b); busy {
		return r
	}
	return t.grow(b)
}

// settled: what fits through is given out.
func (t *Turn) settled(b *Budget) plan.Reason {
	if t.ripples(b) {
		return t.hold(b, plan.AwaitEffect)
	}
	if r, busy := t.busy(b); busy {
		return r
	}
	t.overbook(b)
	return t.grow(b)
}

// trying: more than is known to fit is out. The first sign of a queue ends it.
func (t *Turn) trying(b *Budget) plan.Reason {
	switch {
	case t.awaits(b), t.Load.Resuming && (t.tooFar(b) || t.Opinion.Trouble()) && t.ripple(b):
		return t.await(b)
	case t.queued(b) && !t.undo(b):
		return t.reason(b, plan.Cut, plan.NearTarget)
	case b.Phase == plan.Settled: // that was no small try's doing
		return t.settled(b)
	case t.tooFar(b) && !t.Opinion.LetBe:
		return t.relieve(b)
	}
	return t.searching(b)
}

// released: the limits are as they were, for cuts did not help.
func (t *Turn) released(b *Budget) plan.Reason {
	if t.pentUp(b) {
		return t.hold(b, plan.AwaitEffect)
	}
	if r, busy := t.busy(b); busy {
		return r
	}
	b.Phase = b.rest() // nobody is in trouble
	return t.grow(b)
}

// busy acts upon trouble, or holds where no more may be given out; else nothing is to be done.
func (t *Turn) busy(b *Budget) (r plan.Reason, busy bool) {
	v := t.Opinion
	switch {
	case t.awaits(b):
		return t.await(b), true
	case v.Trouble() && !v.LetBe:
		return t.relieve(b), true
	case t.Held:
		b.Search.Raised = t.Now // it is yet to come
		return t.hold(b, plan.Calm), true
	}
	b.clean(t.Now)
	switch {
	case v.LetBe:
		return t.hold(b, v.Cause()), true
	case v.Partial:
		return t.hold(b, plan.Blind), true
	case v.Elsewhere != nil && !b.recovering():
		return t.hold(b, plan.NotNetwork), true
	case !t.Sense.Roomy(&v.Verdict):
		return t.hold(b, plan.NearTarget), true
	}
	return r, false
}

// awaits reports whether the last change has yet to show, or what shows of it is no queue of
// the link's.
func (t *Turn) awaits(b *Budget) bool {
	return t.Now.Before(b.Link.EffectBy) || t.waits() || t.bursts(b)
}

// await waits for the last change to show. What sockets had waiting is cut for where it would not be
// gone soon: that is by way of little, and says nothing of the link.
func (t *Turn) await(b *Budget) plan.Reason {
	if !t.lasts(b) {
		return t.hold(b, plan.AwaitEffect)
	}
	t.empty(b)
	return t.reason(b, plan.Cut, plan.Violation)
}

// pentUp reports whether limits were just given back: what the limiters held is let out at
// once, and a queue of it says nothing of the link.
func (t *Turn) pentUp(b *Budget) bool {
	return t.Now.Sub(b.Search.Released) < settleTime
}

// ripples reports whether limits were changed so recently that packets of before it are
// still among those that come at the new rate, and fq has these wait for them and leave
// together: a few milliseconds of delay come of that, and no more.
func (t *Turn) ripples(b *Budget) bool {
	lately := t.Held || t.Load.Resuming || t.Now.Sub(b.Search.Raised) < plan.Horizon+t.Feedback
	return t.Load.Paced && lately && t.Opinion.Trouble() && t.ripple(b)
}

// ripple reports whether what is late is no later than that.
func (t *Turn) ripple(b *Budget) bool {
	v, most := t.Opinion, ripple*t.Opinion.Allow
	c, atOnce := b.Link.Capacity, atOnceMost
	if b.Phase == plan.Trying && c > 0 { // if that fits it is gone as soon, and else each tenth of a second counts
		c, atOnce = max(c, b.Total), atOnceOf
	}
	if t.Load.Resuming && c > 0 {
		most = max(most, time.Duration(atOnce/float64(c)*float64(time.Second)))
	}
	return !b.burst() && !v.Lossy && v.Worst.Recent < most
}
