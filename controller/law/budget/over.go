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

// giveUp puts the budget back: cuts did not move the signal.
func (t *Turn) giveUp(b *Budget) {
	before := b.Trouble.Before
	b.Total, b.Search.Even = before.Total, false
	b.Link.Known, b.Link.Capacity = before.Link.Known, before.Link.Capacity
	b.Phase, b.Search.Released = plan.Released, t.Now
	b.Trouble = Trouble{Before: before}
}

// GiveBack ends what was taken on an app's account: the limits are those of before
// the first of the cuts.
func (t *Turn) GiveBack(b *Budget) plan.Reason {
	t.from = b.Total
	b.Trouble = Trouble{Before: b.Account.Before}
	told := b.Account.tell(plan.Reason{}, b.Total)
	t.giveUp(b)
	b.Account = Account{}
	r := t.reason(b, plan.Restore, plan.TooCostly)
	r.App, r.For, r.Since, r.Taken = told.For, told.For, told.Since, told.Taken
	return r
}
