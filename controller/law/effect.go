package law

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// unwritten reports whether nothing of the last cut is in force: the writes are
// late or fail, or nobody carries plans out. It says nothing about its cause
// until it has been tried.
func (t *turn) unwritten(b *Budget) bool {
	return b.Draining && b.InForce > b.Total && t.load.limits >= b.InForce-(b.InForce-b.Total)/10
}

// insist plans a cut that is not in force again, or drops it where the trouble
// went away without it.
func (t *turn) insist(b *Budget) plan.Reason {
	b.Unwritten = true
	if t.verdict.violated() {
		b.CleanAt = time.Time{}
		if t.now.Sub(b.CutAt) > settleTime {
			t.from = t.load.limits
			return t.reason(b, plan.Cut, plan.Violation)
		}
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	}
	b.clean(t.now)
	if b.Cuts > 0 {
		return t.reason(b, plan.Hold, plan.AwaitEffect)
	}
	t.giveUp(b)
	b.Unwritten = false
	return t.reason(b, plan.Hold, plan.Calm)
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
	return t.now.Sub(b.EffectBy) < 2*time.Second && t.verdict.worst.slope < -0.03
}
