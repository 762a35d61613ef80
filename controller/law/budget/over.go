package budget

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

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

// cleanFor is how long a bottleneck must be clean for its cuts to count as
// having helped: a cause elsewhere comes and goes as it likes in between.
const cleanFor = time.Second

// giveUp puts the budget back to what it was before: cuts did not move the signal.
func (t *Turn) giveUp(b *Budget, before Before) {
	b.Total, b.Search.Even, b.Search.Fine = before.Total, false, false
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
