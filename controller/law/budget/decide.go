package budget

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Decide is one step of the state machine. It updates the budget.
func (t *Turn) Decide(b *Budget) plan.Reason {
	t.from = b.Total
	if t.Held {
		b.Link.Eased = t.Now
	}
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
		return t.hold(b, plan.AwaitEffect)
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
		return t.hold(b, plan.AwaitEffect), true
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

// tooFar reports whether a try for more has met the first sign of a queue.
func (t *Turn) tooFar(b *Budget) bool { return b.Phase == plan.Trying && t.touched(b) }

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

// bursts reports whether a queue is what sockets had waiting as limits were raised: somebody
// is seen to send more than its new limit, or the queue is there at once and leaves. From then
// on limits are changed so that it does not come.
func (t *Turn) bursts(b *Budget) bool {
	v := t.Opinion
	known := t.Load.Paced && !b.burst() // and limits were changed so that it does not come
	if !t.Load.Sockets || known || !v.Trouble() && !t.tooFar(b) || t.Now.Sub(b.Search.Raised) >= t.Feedback+burstTime {
		return false
	}
	if !t.over(b) && (v.Lossy || !v.Trouble() || !t.atOnce(b)) {
		return false // it is a lasting excess
	}
	b.Link.Burst = t.Now
	return true
}

// atOnce reports whether a queue came as a raise took effect, and leaves, or came faster than the
// limits let it.
func (t *Turn) atOnce(b *Budget) bool {
	ramp, l := t.ramp(b, t.Now), &b.Link
	onset := queue.Onset(ramp, t.Sense.Window)
	if len(ramp) == 0 || onset.After(b.Search.Raised.Add(t.Feedback)) {
		return false
	}
	rise := queue.Rising(ramp)
	came := l.Capacity + bitrate.Scale(l.Capacity+l.Others, rise)
	fast := rise != 0 && l.Measured && came > bitrate.Scale(b.Limits(), 2*beyond-1)
	sudden := rise == 0 && t.Now.Sub(onset) < t.Sense.Window
	return fast || sudden || len(ramp)-1-queue.Turning(ramp) >= leaving
}

// burst reports whether the newest raise was seen to make one.
func (b *Budget) burst() bool { return b.Link.Burst.After(b.Search.Raised) }

// over reports whether somebody has sent clearly more than its limit since a raise, and than before
// it, as who lends to another one may: what waited in its sockets, beside what is new.
func (t *Turn) over(b *Budget) bool {
	raised := b.Search.Raised
	return slices.ContainsFunc(t.Senders, func(s *plan.Sender) bool {
		may := max(s.Limit, senders.Over(s.Rates, raised.Add(-senders.Window), raised))
		return slices.ContainsFunc(s.Rates, func(r plan.TxRate) bool {
			return r.At.After(raised.Add(senders.Window)) && r.Tx > bitrate.Scale(may, beyond)
		})
	})
}

// Bursts reports whether what sockets have waiting made a queue lately.
func (l *Link) Bursts(now time.Time) bool { return !l.Burst.IsZero() && now.Sub(l.Burst) < burstMemory }

// Eases reports whether a raise is to be one that what sockets have waiting makes no queue of: it did
// lately, or it is the first to what a queue told, which nothing is known of.
func (l *Link) Eases(now time.Time) bool { return l.Bursts(now) || l.Known && l.Eased.IsZero() }

// Paced reports whether changes are made that way, or were just now.
func (l *Link) Paced(now time.Time) bool { return l.Bursts(now) || now.Sub(l.Eased) < burstTime }

const (
	ripple = 4 // times what is allowed: how late ripples make packets at most
	// atOnceOf is what fq keeps of a flow (flow_limit, 100 packets), and lets out at once that it held back behind packets of
	// before a change: bits. Half as much again is the most that is taken for it.
	atOnceOf    = 100.0 * 1514 * 8
	atOnceMost  = 1.5 * atOnceOf
	leaving     = 2                      // samples in a row after the highest tell that a queue leaves
	burstTime   = 500 * time.Millisecond // after a raise, that a burst is waited for to leave
	burstMemory = 10 * time.Minute       // after a burst, that sockets are taken to have more waiting
)
