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
	v := t.Opinion
	if b.Phase == plan.Doubting {
		b.Phase = b.Trouble.Resume
	}
	if !v.Tail {
		b.Trouble.Doubted = time.Time{}
	}
	switch {
	case v.Silent, v.Blind && t.Now.Sub(b.Link.EffectBy) < t.Sense.Stale+2*v.Lag:
		return t.hold(b, plan.AwaitEffect)
	case v.Blind:
		return t.blind(b)
	}
	switch b.Phase {
	case plan.Cutting:
		return t.cutting(b)
	case plan.Testing, plan.Draining:
		return t.inForce(b)
	}
	return t.resting(b) // open, settled, exploring, trying, released
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

// resting: no cut is on its way. Trouble, and in a try for more the first sign of a
// queue, is acted upon; else more is tried for when it is time to.
func (t *Turn) resting(b *Budget) plan.Reason {
	v := t.Opinion
	switch {
	case t.Now.Before(b.Link.EffectBy), t.waits(), t.pentUp(b), t.ripples(b), t.bursts(b):
		return t.hold(b, plan.AwaitEffect)
	case t.queued(b) && !t.undo(b):
		return t.reason(b, plan.Cut, plan.NearTarget)
	case !v.LetBe && (v.Trouble() || t.tooFar(b)):
		return t.relieve(b)
	case t.Held:
		b.Search.Raised = t.Now // it is yet to come
		return t.hold(b, plan.Calm)
	}
	b.clean(t.Now)
	switch {
	case v.LetBe:
		return t.hold(b, v.Cause())
	case v.Partial:
		return t.hold(b, plan.Blind)
	case v.Elsewhere != nil && !b.recovering():
		return t.hold(b, plan.NotNetwork)
	case !t.Sense.Roomy(&v.Verdict):
		return t.hold(b, plan.NearTarget)
	}
	if b.Phase == plan.Released { // the limits are back, and nobody is in trouble
		b.Phase = b.rest()
	}
	t.overbook(b)
	return t.grow(b)
}

// tooFar reports whether a try for more has met the first sign of a queue.
func (t *Turn) tooFar(b *Budget) bool { return b.Phase == plan.Trying && t.touched(b) }

// pentUp reports whether limits were just given back: what the limiters held is let out at
// once, and a queue of it says nothing of the link.
func (t *Turn) pentUp(b *Budget) bool {
	return b.Phase == plan.Released && t.Now.Sub(b.Search.Released) < SettleTime
}

// ripples reports whether limits were changed so recently that packets of before it are
// still among those that come at the new rate, and fq has these wait for them and leave
// together: a few milliseconds of delay come of that, and no more.
func (t *Turn) ripples(b *Budget) bool {
	v := t.Opinion
	lately := t.Held || t.Now.Sub(b.Search.Raised) < plan.Horizon+t.Feedback
	return t.Load.Paced && !b.burst() && b.Phase == plan.Settled && lately && v.Trouble() && !v.Lossy && v.Worst.Recent < ripple*v.Allow
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

const (
	ripple      = 4                      // times what is allowed: how late ripples make packets at most
	leaving     = 2                      // samples in a row after the highest tell that a queue leaves
	beyond      = 1.05                   // times its limit: who sends more sends what it had waiting beside it
	burstTime   = 500 * time.Millisecond // after a raise, that a burst is waited for to leave
	burstMemory = 10 * time.Minute       // after a burst, that sockets are taken to have more waiting
)
