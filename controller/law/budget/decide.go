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
	Opinion  *Opinion
	Load     Load
	Senders  []*plan.Sender
	Paths    []*plan.Session // of all that have a say, for measuring

	// What came of it, besides the budget.
	Escalate bool // cuts do not help here: look elsewhere
	Empty    bool // the paths of who blames it are empty: their bases are known
	from     bitrate.Rate
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
	case plan.Open:
		return t.open(b)
	case plan.Exploring:
		return t.exploring(b)
	case plan.Trying:
		return t.trying(b)
	case plan.Released:
		return t.released(b)
	}
	return t.settled(b)
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

// resting is what all phases without trouble have in common; done says that it
// has decided.
func (t *Turn) resting(b *Budget, touched bool) (r plan.Reason, done bool) {
	v := t.Opinion
	switch {
	case t.Now.Before(b.Link.EffectBy):
		return t.hold(b, plan.AwaitEffect), true
	case v.Awaited && (v.Excused || !v.Trouble()): // who is well says nothing of who is not
		return t.hold(b, plan.AwaitEffect), true
	case !v.Excused && (v.Trouble() || touched):
		return t.relieve(b, false), true
	}
	b.clean(t.Now)
	switch {
	case v.Excused:
		return t.hold(b, v.excuse()), true
	case v.Partial:
		return t.hold(b, plan.Blind), true
	case v.Elsewhere != nil:
		return t.hold(b, plan.NotNetwork), true
	case !t.Sense.Roomy(&v.Verdict):
		return t.hold(b, plan.NearTarget), true
	}
	return r, false
}

// open: the limits in force are the budget, and may be far too low.
func (t *Turn) open(b *Budget) plan.Reason {
	if r, done := t.resting(b, false); done {
		return r
	}
	return t.grow(b)
}

// settled: the budget is what fits through; more is tried for now and then.
func (t *Turn) settled(b *Budget) plan.Reason {
	if r, done := t.resting(b, false); done {
		return r
	}
	return t.grow(b)
}

// exploring: the budget is what the queue left at; more fits, and it is looked for.
func (t *Turn) exploring(b *Budget) plan.Reason {
	if r, done := t.resting(b, false); done {
		return r
	}
	return t.grow(b)
}

// trying: more than is known to fit is let through; the first sign of a queue
// ends it.
func (t *Turn) trying(b *Budget) plan.Reason {
	if r, done := t.resting(b, t.touched(b)); done {
		return r
	}
	return t.grow(b)
}

// released: the limits are back, and the app whose trouble it was is let be.
func (t *Turn) released(b *Budget) plan.Reason {
	if r, done := t.resting(b, false); done {
		return r
	}
	b.Phase = b.rest()
	return t.grow(b)
}

// touched reports whether the newest samples are late after a try for more: there
// is little doubt then, and a queue of less than the target is quickly undone.
func (t *Turn) touched(b *Budget) bool {
	v := t.Opinion
	return t.raised(b) && v.Allow != 0 && v.Worst.Recent > v.Soft
}

// raised reports whether the last raise is so recent that trouble is its doing.
func (t *Turn) raised(b *Budget) bool {
	return t.Now.Sub(b.Search.Raised) < 2*t.Config.RaiseEvery+2*t.Feedback+2*t.Opinion.Lag
}

// soon is the wait where more may fit any time.
func (t *Turn) soon() time.Duration { return t.Config.ProbeEvery / 12 }

// ramp is the delays of all that have a say since a time.
func (t *Turn) ramp(from time.Time) []queue.Delay { return queue.Ramp(t.Paths, from) }
