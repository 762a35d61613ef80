// Package adaptive keeps one budget per bottleneck below what fits through it,
// learned from the delay of probes, and divides it among the senders. It asks the rooms in
// order: sense says how late whom is, senders who sends what, blame where to look, budget how
// much is let through, share who gets it and limits what is written. docs/control-law.md
// explains it.
package adaptive

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/limits"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// State is what is remembered between steps.
type State struct {
	Uses      []senders.Use     // recent peaks, by sender
	Diagnoses []blame.Diagnosis // where each app's trouble is looked for
	Budgets   []budget.Budget   // one per bottleneck, in their order
	Accounts  []budget.Account  // for whom limits are lower than they were, by bottleneck
	Feedback  senders.Feedback  // how long a patch takes to show
	Flushes   []senders.Flush   // limits that are low for a while, by sender
}

// Step is one step of the law.
func Step(c Config, s State, v sense.View) (State, plan.Plan) {
	v = c.assume(ordered(v))
	r := round{config: c, view: v, plan: plan.Plan{At: v.At}}
	r.senders = senders.Observe(s.Uses, s.Flushes, s.Feedback, v.Observation, v.Elsewhere, c.Budget.Feedback)
	r.blame = blame.Observe(c.Blame, c.Sense, s.Diagnoses, s.behind, s.full(v), v, r.senders)
	all := r.blame.Bottlenecks(s.clusterCounts(v.At))
	r.budgets = make([]budget.Budget, 0, len(all)+1)
	r.plan.Reasons = slices.Grow(r.plan.Reasons, len(all))
	for _, b := range all {
		r.take(b, &s)
	}
	// An app that cuts did not help blames the next one, which may have been passed
	// already or not exist yet.
	for _, b := range r.blamed {
		if at, taken := slices.BinarySearchFunc(all, b, plan.Bottleneck.Compare); !taken {
			all = slices.Insert(all, at, b)
			r.take(b, &s)
		}
	}
	limits.Plan(c.Limits, &r.senders, v.Elsewhere, r.budgets, r.parts, &r.plan)
	plan.Sort(r.budgets)
	plan.Sort(r.accounts)
	return State{
		Uses: r.senders.Uses, Feedback: r.senders.Feedback, Flushes: r.senders.Flushes,
		Diagnoses: r.blame.Diagnoses, Budgets: r.budgets, Accounts: r.accounts,
	}, r.plan
}

// behind reports whether there is a budget for a bottleneck.
func (s *State) behind(b plan.Bottleneck) bool {
	_, found := plan.Find(s.Budgets, b)
	return found
}

// shows is how long it takes at most until a raise that was too much is seen, and until a queue that was
// cut for has left and is forgotten.
const shows = 2 * time.Second

// fits is how long after a raise nothing has to be seen of it for it to fit, where an uplink is tried for more: a little too
// much makes a queue slowly.
const fits = 10 * time.Second

// full reports whether an uplink is what an app is late by, as far as others show: more was given out
// behind it just now, or has yet to be found to fit, or less for an app of another node.
func (s *State) full(v sense.View) func(plan.Bottleneck, *plan.App) bool {
	return func(b plan.Bottleneck, app *plan.App) bool {
		known := find(s.Budgets, b)
		if ago := v.At.Sub(known.Search.Raised); ago < shows || known.Phase == plan.Trying && ago < fits {
			return true
		}
		i, found := plan.Find(v.Apps, find(s.Accounts, b).App)
		return found && v.Apps[i].Node != app.Node && v.At.Sub(known.Link.Cut) < shows
	}
}

// clusterMemory is how long after its last cut the cluster counts as one
// bottleneck.
const clusterMemory = 5 * time.Minute

// clusterCounts reports whether the cluster has a budget that was needed lately, or of which a cut is
// on its way: letting go of it after that changes no limit.
func (s *State) clusterCounts(now time.Time) bool {
	link := find(s.Budgets, plan.Cluster).Link
	return link.Known && now.Sub(link.Cut) < clusterMemory || now.Before(link.EffectBy)
}

// ordered returns v with all in their order, so that equal observations give equal plans.
func ordered(v sense.View) sense.View {
	if !v.InOrder {
		v.Apps, v.Verdicts = plan.Ordered[plan.App, plan.PodID](v.Apps), plan.Ordered[sense.Verdict, plan.PodID](v.Verdicts)
		v.Senders = plan.Ordered[plan.Sender, plan.PodID](v.Senders)
	}
	v.Told = plan.Ordered[plan.Told, plan.Bottleneck](v.Told)
	return v
}
