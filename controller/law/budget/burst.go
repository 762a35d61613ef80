package budget

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// tooFar reports whether a try for more has met the first sign of a queue.
func (t *Turn) tooFar(b *Budget) bool { return b.Phase == plan.Trying && t.touched(b) }

// bursts reports whether a queue is what sockets had waiting as limits were raised: somebody
// is seen to send more than its new limit, or the queue is there at once and leaves. From then
// on limits are changed so that it does not come.
func (t *Turn) bursts(b *Budget) bool {
	v := t.Opinion
	known := t.Load.Paced && !b.burst() // and limits were changed so that it does not come
	if !t.Load.Sockets || known || !v.Trouble() && !t.tooFar(b) || t.Now.Sub(b.Search.Raised) >= t.Feedback+burstTime {
		return false
	}
	over := t.over(b)
	switch {
	case !over && t.young(b):
		return true
	case !over && (v.Lossy || !v.Trouble() || !t.atOnce(b)), t.stands(b):
		return false // it is a lasting excess
	}
	b.Link.Burst = t.Now
	return true
}

// lasts reports whether a queue of what sockets had waiting was seen just now that is longer than ripples, and
// does not leave within the time that one is waited for.
func (t *Turn) lasts(b *Budget) bool {
	v := t.Opinion
	if !b.Link.Burst.Equal(t.Now) || !b.Link.Known || !v.Trouble() || v.LetBe || v.Lossy || !t.Load.Room {
		return false
	}
	r := &v.Worst
	return r.Recent >= ripple*v.Allow && r.Recent.Seconds() > -r.Slope*burstTime.Seconds()
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

const (
	ripple = 4 // times what is allowed: how late ripples make packets at most
	// atOnceOf is what fq keeps of a flow (flow_limit, 100 packets), and lets out at once that it held back behind packets of
	// before a change: bits. Half as much again is the most that is taken for it.
	atOnceOf   = 100.0 * 1514 * 8
	atOnceMost = 1.5 * atOnceOf
	leaving    = 2 // samples in a row after the highest tell that a queue leaves
)
