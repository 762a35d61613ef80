package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Turn is one step of one bottleneck: what is known, and what came of it.
type Turn struct {
	Config   Config
	Sense    sense.Config
	Decrease bool // while blind, take a little each second
	Now      time.Time
	Feedback time.Duration // patch to effect, 95th percentile
	Pending  bool          // a patch behind this bottleneck has yet to show
	Held     bool          // limits are low until what waits behind them is gone
	Opinion  *blame.Opinion
	Load     senders.Load
	Told     plan.Told // of the link; zero: nothing
	Senders  []*plan.Sender
	Paths    []queue.Path // of all that have a say, for measuring

	Outcome
	from bitrate.Rate
}

func (t *Turn) reason(b *Budget, a plan.Action, c plan.Cause) plan.Reason {
	return plan.Reason{
		Bottleneck: b.Bottleneck, Phase: b.Phase, Action: a, Cause: c,
		Usage: t.Load.Peak, From: t.from, To: b.Total, Feedback: t.Feedback,
	}
}

func (t *Turn) hold(b *Budget, c plan.Cause) plan.Reason { return t.reason(b, plan.Hold, c) }

// waits reports whether one in trouble has yet to see the last cut: who is well says
// nothing of who is not.
func (t *Turn) waits() bool {
	v := t.Opinion
	return v.Awaited && (v.LetBe || !v.Trouble())
}

// raised reports whether the last raise is so recent that trouble is its doing.
func (t *Turn) raised(b *Budget) bool {
	return t.Now.Sub(b.Search.Raised) < 2*t.Config.RaiseEvery+2*t.Feedback+2*t.Opinion.Lag
}

// soon is the wait where more may fit any time.
func (t *Turn) soon() time.Duration { return t.Config.ProbeEvery / 12 }

// comeback is how long to wait for capacity that was lost: twice as long with each fall
// that follows another soon.
func (t *Turn) comeback(b *Budget) time.Duration {
	wait := t.soon()
	for n := b.Link.Falls; n > 1 && wait < fallMemory; n-- {
		wait *= 2
	}
	return min(wait, fallMemory)
}

// ramp is the delays of all that have a say which may belong to the queue that stood at a time.
func (t *Turn) ramp(b *Budget, at time.Time) []queue.Delay {
	return queue.Ramp(t.Paths, later(at.Add(-queue.RampTime), b.Search.Raised))
}

const (
	proven   = 0.985       // share of what was good before that is given out again
	beyond   = 1.05        // times its limit: who sends more sends what it had waiting beside it
	cleanFor = time.Second // without a violation, for cuts to count as having helped: a cause elsewhere comes and goes
)

// Outcome is what came of a step, besides the budget.
type Outcome struct {
	Escalate bool // cuts do not help here: look elsewhere
	Empty    bool // the paths of who blames it are empty: their bases are known
	Idle     bool // who is late here is so by itself, if cuts do not help elsewhere
}

// clean notes a look without a violation. What belonged to the trouble goes when
// it has been over for a while.
func (b *Budget) clean(now time.Time) {
	x := &b.Trouble
	if x.CleanAt.IsZero() {
		x.CleanAt = now
	}
	if now.Sub(x.CleanAt) < cleanFor {
		return
	}
	if b.Draining() {
		x.Cuts = 0
		return
	}
	*x = Trouble{CleanAt: x.CleanAt}
}

// giveUp puts the budget back to what it was before: cuts did not move the signal.
func (t *Turn) giveUp(b *Budget, before Before) {
	b.Total, b.Search.Small = before.Total, Small{}
	b.Search.end()
	b.Link.Known, b.Link.Capacity = before.Link.Known, before.Link.Capacity
	b.Phase, b.Search.Released = plan.Released, t.Now
	b.Trouble = Trouble{Before: before}
}

// GiveBack puts the budget back to what it was before: it has cost the others too much.
func (t *Turn) GiveBack(b *Budget, before Before) plan.Reason {
	t.from = b.Total
	t.giveUp(b, before)
	return t.reason(b, plan.Restore, plan.TooCostly)
}
