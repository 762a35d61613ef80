package adaptive

import (
	"slices"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// tooCostly charges the app on whose account little is let through behind a
// bottleneck, and reports which that is and whether it has cost the others what it may. What the
// agent beside it sees as well is not its word alone, and costs it nothing.
func (r *round) tooCostly(b *budget.Budget, load budget.Load) (app int, spent bool) {
	who := b.Account.App
	cost := b.Cost(load, r.config.Blame.HarmShare, r.view.At)
	if cost == 0 {
		return -1, false
	}
	i, found := slices.BinarySearchFunc(r.state.Suspicions, who, func(s blame.Suspicion, id plan.PodID) int { return s.App.Compare(id) })
	if !found || sense.Vouched(&r.view.Apps[i], r.view.At, r.config.Sense.Stale) {
		return -1, false
	}
	return i, r.state.Suspicions[i].Charge(r.config.Blame, cost, r.view.At)
}

// inTrouble reports whether a bottleneck's reason forbids raises behind it.
func inTrouble(r *plan.Reason) bool {
	if r.Action == plan.Restore || r.Action == plan.Grow {
		return false
	}
	switch r.Cause {
	case plan.Violation, plan.Confirming, plan.AwaitEffect, plan.Blind, plan.AtFloor, plan.Unresponsive, plan.TooCostly, plan.NotNetwork:
		return true
	}
	return false
}
