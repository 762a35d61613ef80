package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Where sockets have much waiting each change of a limit goes by way of little, and costs as much however small it is. So what
// a link has lost is tried for in few steps, and one in vain is undone without asking what fits: that is known.

const (
	largeStep = 0.06                   // more than fits, or fitted so far: a queue of more tells no sooner, and lasts longer
	withheld  = 0.06                   // share of what once fitted through, at the most, that is given out less for what goes on from low limits
	flushes   = 300 * time.Millisecond // that limits are low for a change
)

// inFewSteps reports whether what a link has lost is tried for so.
func (t *Turn) inFewSteps(b *Budget) bool {
	return t.Load.Sockets && b.Link.InFewSteps(t.Now) && !b.Search.Even
}

// InFewSteps reports whether a link has lost what is to be tried for so, and by nothing that comes and goes.
func (l *Link) InFewSteps(now time.Time) bool {
	return l.Full(now) && l.Measured && l.fallen() && !l.unsteady(now) && l.Least == 0
}

// regain gives out what was left free for what went on from low limits, which nothing does any more, if there is more
// of it until the next try than the change costs.
func (t *Turn) regain(b *Budget) bool {
	s, to := &b.Search, bitrate.Scale(b.Link.Capacity, t.Config.Settle)
	if !t.inFewSteps(b) || b.Phase != plan.Settled || t.Held || t.Now.Sub(s.Raised) < plan.Horizon+t.Feedback {
		return false
	}
	if to <= b.Total || !t.Now.Before(s.At) || float64(to-b.Total)*s.At.Sub(t.Now).Seconds() <= float64(b.Total)*flushes.Seconds() {
		return false
	}
	b.Total, s.Raised = to, t.Now
	return true
}

// vainly reports whether such a try has met a queue.
func (t *Turn) vainly(b *Budget) bool {
	return b.Phase == plan.Trying && t.inFewSteps(b) && b.Link.Proven > 0 && t.Load.Room && t.Load.Peak >= bitrate.Mbit
}

// goes is what goes on from low limits of now, and of just before.
func (t *Turn) goes(b *Budget) bitrate.Rate {
	l, goes := &b.Link, t.Load.Goes
	if t.Now.Sub(l.WentAt) < plan.Horizon {
		goes = max(goes, l.Went)
	}
	return min(goes, bitrate.Scale(l.Capacity, withheld))
}

// gives is what is given out of the capacity. What sockets have waiting at low limits goes on beside that.
func (t *Turn) gives(b *Budget) bitrate.Rate {
	return min(bitrate.Scale(b.Link.Capacity, t.Config.Settle), bitrate.Scale(b.Link.Capacity, besides)-t.goes(b))
}

// besides is the share of the capacity that is given out together with what goes on from low limits.
const besides = 0.995
