package adaptive

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/plan"
)

// Account says for whom less is let through behind a bottleneck than was: the app whose
// trouble the last cut was for, until the limits are worth again what they were.
type Account struct {
	Bottleneck plan.Bottleneck
	App        plan.PodID    // zero: nothing is taken on anybody's account
	Since      time.Time     // of the first cut
	Would      bitrate.Rate  // the most that the senders used at one of the cuts
	Charged    time.Time     // up to when what it costs has been counted
	Before     budget.Before // the first cut
}

// Key is the bottleneck.
func (a Account) Key() plan.Bottleneck { return a.Bottleneck }

func (a *Account) open() bool { return a.App != (plan.PodID{}) }

// book notes for whom a cut was just made.
func (a *Account) book(app plan.PodID, b *budget.Budget, now time.Time) {
	if !a.open() {
		*a = Account{Bottleneck: b.Bottleneck, Since: now, Charged: now, Before: b.Trouble.Before}
	}
	a.App, a.Would = app, max(a.Would, b.Trouble.Found.Used)
}

// charge says for whom how much is taken, where total is let through.
func (a *Account) charge(total bitrate.Rate) plan.Charge {
	if !a.open() || a.Would <= total {
		return plan.Charge{}
	}
	return plan.Charge{For: a.App, Since: a.Since, Taken: a.Would - total}
}

// maxCharge is the longest time between two looks that is charged: nobody knows what
// was in force in a longer one.
const maxCharge = time.Second

// cost is for how long, since it was last asked, the senders were left less than
// share of what they would use; zero where no limit holds them back.
func (a *Account) cost(total bitrate.Rate, load budget.Load, share float64, now time.Time) time.Duration {
	if !a.open() {
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

// tooCostly charges the app on whose account little is let through behind a bottleneck,
// and reports which that is and whether it has cost the others what it may. What the
// agent beside it sees as well is not its word alone, and costs it nothing.
func (r *round) tooCostly(a *Account, total bitrate.Rate, load budget.Load) (app int, spent bool) {
	who, cost := a.App, a.cost(total, load, r.config.Blame.HarmShare, r.view.At)
	if cost == 0 {
		return -1, false
	}
	i, found := plan.Find(r.state.Diagnoses, who)
	if !found || r.config.Sense.Vouched(&r.view.Apps[i], r.view.At) {
		return -1, false
	}
	return i, r.state.Diagnoses[i].Charge(r.config.Blame, cost, r.view.At)
}
