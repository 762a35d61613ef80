package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Load is what the senders behind a bottleneck do.
type Load struct {
	Peak   bitrate.Rate // of their sum
	Limits bitrate.Rate // sum of the limits in force
	Seen   time.Time    // end of the newest sub-window
	Bound  bool         // somebody is held back by a limit
	Floors bitrate.Rate // sum of the floors
	Room   bool         // somebody is above the floor
	More   bool         // somebody is below the ceiling
	Paced  bool         // what waits behind a limit leaves at the old rate as it is changed
}

// Opinion is the verdict that counts for a bottleneck: that of the app in the
// worst trouble among those that have a say.
type Opinion struct {
	sense.Verdict
	Silent  bool // nobody has a say
	Partial bool // others that have a say are blind
	Excused bool // in trouble, but left alone for now
	Spent   bool // excused because it has cost the others what it may
	Awaited bool // another one in trouble has yet to see the effect of the last cut
}

// excuse is why an app in trouble is left alone.
func (o *Opinion) excuse() plan.Cause {
	if o.Spent {
		return plan.TooCostly
	}
	return plan.Unresponsive
}

// Turn is one step of one bottleneck: what is known, and what came of it.
type Turn struct {
	Config   Config
	Sense    sense.Config
	Decrease bool // while blind, take a little each second
	Now      time.Time
	Feedback time.Duration // patch to effect, 95th percentile
	Pending  bool          // a patch behind this bottleneck has yet to show
	Held     bool          // limits are low until what waits behind them is gone
	Opinion  *Opinion
	Load     Load
	Senders  []*plan.Sender
	Paths    []*plan.Session // of all that have a say, for measuring

	Outcome
	from bitrate.Rate
}

// Outcome is what came of a step, besides the budget.
type Outcome struct {
	Escalate bool // cuts do not help here: look elsewhere
	Empty    bool // the paths of who blames it are empty: their bases are known
	Idle     bool // who is late here is so by itself, if cuts do not help elsewhere
}

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
	case plan.Testing:
		return t.testing(b)
	case plan.Draining:
		return t.draining(b)
	}
	return t.resting(b) // open, settled, exploring, trying, released
}

func (t *Turn) reason(b *Budget, a plan.Action, c plan.Cause) plan.Reason {
	return b.Account.tell(plan.Reason{
		Bottleneck: b.Bottleneck, Phase: b.Phase, Action: a, Cause: c,
		Usage: t.Load.Peak, From: t.from, To: b.Total, Feedback: t.Feedback,
	}, b.Total)
}

func (t *Turn) hold(b *Budget, c plan.Cause) plan.Reason { return t.reason(b, plan.Hold, c) }

// blind holds, or takes a little each second if it is told to.
func (t *Turn) blind(b *Budget) plan.Reason {
	if b.Phase == plan.Trying {
		b.Phase = b.rest()
	}
	b.Search.At = later(b.Search.At, t.Now.Add(t.soon())) // sight comes back without a jump
	b.Search.Hum = Hum{}
	if !t.Decrease || t.Now.Sub(b.Link.Cut) < time.Second || !t.Load.Room {
		return t.hold(b, plan.Blind)
	}
	b.Total = scale(min(b.Total, t.Load.Peak), 1-t.Config.MinCut)
	b.Link.Cut, b.Link.EffectBy = t.Now, t.Now.Add(t.Feedback)
	b.Phase = b.rest()
	return t.reason(b, plan.Cut, plan.Blind)
}

// resting: no cut is on its way. Trouble, and in a try for more the first sign of a
// queue, is acted upon; else more is tried for when it is time to.
func (t *Turn) resting(b *Budget) plan.Reason {
	v := t.Opinion
	switch {
	case t.Now.Before(b.Link.EffectBy), t.waits(), t.pentUp(b), t.ripples(b):
		return t.hold(b, plan.AwaitEffect)
	case !v.Excused && (v.Trouble() || b.Phase == plan.Trying && t.touched(b)):
		return t.relieve(b, false)
	case t.Held:
		b.Search.Raised = t.Now // it is yet to come
		return t.hold(b, plan.Calm)
	}
	b.clean(t.Now)
	switch {
	case v.Excused:
		return t.hold(b, v.excuse())
	case v.Partial:
		return t.hold(b, plan.Blind)
	case v.Elsewhere != nil:
		return t.hold(b, plan.NotNetwork)
	case !t.Sense.Roomy(&v.Verdict):
		return t.hold(b, plan.NearTarget)
	}
	if b.Phase == plan.Released { // the limits are back, and nobody is in trouble
		b.Phase = b.rest()
	}
	return t.grow(b)
}

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
	return t.Load.Paced && b.Phase == plan.Settled && t.Now.Sub(b.Search.Raised) < rippling+t.Feedback && v.Trouble() && !v.Lossy &&
		v.Worst.Recent < ripple*v.Allow
}

const (
	rippling = 2 * time.Second // the horizon of Cilium's limiter
	ripple   = 4               // times what is allowed
)

// waits reports whether one in trouble has yet to see the last cut: who is well says
// nothing of who is not.
func (t *Turn) waits() bool {
	v := t.Opinion
	return v.Awaited && (v.Excused || !v.Trouble())
}

// touched reports whether the newest samples are late or lost after a try for more: there
// is little doubt then, and a queue of less than the target is quickly undone.
func (t *Turn) touched(b *Budget) bool {
	v := t.Opinion
	return t.raised(b) && (v.Allow != 0 && v.Worst.Recent > v.Soft || t.loses(b))
}

// raised reports whether the last raise is so recent that trouble is its doing.
func (t *Turn) raised(b *Budget) bool {
	return t.Now.Sub(b.Search.Raised) < 2*t.Config.RaiseEvery+2*t.Feedback+2*t.Opinion.Lag
}

// soon is the wait where more may fit any time.
func (t *Turn) soon() time.Duration { return t.Config.ProbeEvery / 12 }

// ramp is the delays of all that have a say since a time.
func (t *Turn) ramp(from time.Time) []queue.Delay { return queue.Ramp(t.Paths, from) }
