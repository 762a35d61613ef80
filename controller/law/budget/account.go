package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Account says for whom less is let through than was: the app whose trouble the
// last cut was for, until the limits are worth again what they were.
type Account struct {
	App     plan.PodID   // zero: nothing is taken on anybody's account
	Since   time.Time    // of the first cut
	Would   bitrate.Rate // the most that the senders used at one of the cuts
	Charged time.Time    // up to when what it costs has been counted
	Before  Before       // the first cut
}

// Open reports whether anything is taken.
func (a *Account) Open() bool { return a.App != (plan.PodID{}) }

// book notes for whom a cut was just made.
func (b *Budget) book(app plan.PodID, now time.Time) {
	a := &b.Account
	if !a.Open() {
		*a = Account{Since: now, Charged: now, Before: b.Trouble.Before}
	}
	a.App, a.Would = app, max(a.Would, b.Link.Upper)
}

// Remember keeps the limits that were in force before the first of the cuts.
func (b *Budget) Remember(limits []senders.Limit) {
	b.Trouble.Before.Limits = limits
	if b.Account.Before.At.Equal(b.Trouble.Before.At) {
		b.Account.Before.Limits = limits
	}
}

// maxCharge is the longest time between two looks that is charged: nobody knows what
// was in force in a longer one.
const maxCharge = time.Second

// Cost is for how long, since it was last asked, the senders were left less than
// share of what they would use, on the account of an app; zero where no limit holds
// them back.
func (b *Budget) Cost(load Load, share float64, now time.Time) time.Duration {
	a := &b.Account
	if !a.Open() {
		return 0
	}
	passed := min(now.Sub(a.Charged), maxCharge)
	a.Charged = now
	if load.Limits >= a.Would && b.Total >= a.Would { // they may use what they used
		*a = Account{}
		return 0
	}
	if !load.Bound || load.Limits >= bitrate.Scale(a.Would, share) {
		return 0
	}
	return passed
}

// tell adds to a reason for whom how much is taken, where total is let through.
func (a *Account) tell(r plan.Reason, total bitrate.Rate) plan.Reason {
	if a.Open() && a.Would > total {
		r.For, r.Since, r.Taken = a.App, a.Since, a.Would-total
	}
	return r
}
