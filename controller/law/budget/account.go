package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Account says for whom less is let through behind a bottleneck than was: the app whose
// trouble the last cut was for, until the limits are worth again what they were.
type Account struct {
	Bottleneck plan.Bottleneck
	App        plan.PodID   // zero: nothing is taken on anybody's account
	Since      time.Time    // of the first cut
	Would      bitrate.Rate // the most that the senders used at one of the cuts
	Charged    time.Time    // up to when what it costs has been counted
	Before     Before       // the first cut
}

// Key is the bottleneck.
func (a Account) Key() plan.Bottleneck { return a.Bottleneck }

// Open reports whether anything is taken on somebody's account.
func (a *Account) Open() bool { return a.App != (plan.PodID{}) }

// Book notes for whom a cut was just made.
func (a *Account) Book(app plan.PodID, b *Budget, now time.Time) {
	if !a.Open() {
		*a = Account{Bottleneck: b.Bottleneck, Since: now, Charged: now, Before: b.Trouble.Before}
	}
	a.App, a.Would = app, max(a.Would, b.Trouble.Found.Used)
}

// Charge says for whom how much is taken, where total is let through.
func (a *Account) Charge(total bitrate.Rate) plan.Charge {
	if !a.Open() || a.Would <= total {
		return plan.Charge{}
	}
	return plan.Charge{For: a.App, Since: a.Since, Taken: a.Would - total}
}

// maxCharge is the longest time between two looks that is charged: nobody knows what
// was in force in a longer one.
const maxCharge = time.Second

// Cost is for how long, since it was last asked, the senders were left less than
// share of what they would use; zero where no limit holds them back.
func (a *Account) Cost(total bitrate.Rate, load senders.Load, share float64, now time.Time) time.Duration {
	if !a.Open() {
		return 0
	}
	passed := min(now.Sub(a.Charged), maxCharge)
	a.Charged = now
	if load.Limits >= a.Would && total >= a.Would { // they may use what they used
		*a = Account{}
		return 0
	}
	if !load.Bound || load.Limits >= bitrate.Scale(a.Would, share) {
		return 0
	}
	return passed
}
