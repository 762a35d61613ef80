// Package adaptive keeps one budget per bottleneck below what fits through it,
// learned from the delay of probes, and divides it among the senders: sense says
// how late whom is, blame where to look, budget how much is let through, share who
// gets it. docs/control-law.md explains it.
package adaptive

import (
	"slices"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// State is what is remembered between steps.
type State struct {
	Uses      []senders.Use     // recent peaks, by sender
	Diagnoses []blame.Diagnosis // where each app's trouble is looked for
	Budgets   []budget.Budget   // one per bottleneck, in their order
	Accounts  []Account         // for whom limits are lower than they were, by bottleneck
	Feedback  senders.Feedback  // how long a patch takes to show
	Flushes   []senders.Flush   // limits that are low for a while, by sender
}

// Step is one step of the law.
func Step(c Config, s State, v sense.View) (State, plan.Plan) {
	v = c.assume(ordered(v))
	next := State{
		Uses:     senders.ObserveUse(s.Uses, v.Senders, v.At),
		Feedback: s.Feedback.Observe(v.Senders, v.At),
	}
	if v.Elsewhere != nil {
		next.Feedback.Delays = v.Elsewhere.Delays
	}
	next.Flushes = next.Feedback.Flushed(s.Flushes, v.Senders, v.At)
	next.Uses = senders.Hold(next.Uses, s.Uses, next.Flushes, v.At)
	active := sending(v, next.Uses)
	v.Verdicts = corroborated(v.Verdicts, active)
	next.Diagnoses = blame.Diagnose(s.Diagnoses, s.behind, v.Verdicts, afar(v), active, v.At)

	r := round{config: c, view: v, state: &next, sending: active, index: indexOf(v, next.Diagnoses)}
	all := r.bottlenecks(s.Budgets)
	next.Budgets = make([]budget.Budget, 0, len(all)+1)
	r.plan.Reasons = slices.Grow(r.plan.Reasons, len(all))
	r.usual = next.Feedback.P95(c.Budget.Feedback)
	r.awaited = next.Feedback.Awaited(v.Senders, v.At, r.usual)
	r.plan.At = v.At
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
	r.limits()
	next.Feedback.Expect(r.plan, v.Senders)
	plan.Sort(next.Budgets)
	plan.Sort(next.Accounts)
	return next, r.plan
}

// afar is who is late by what is far from it.
func afar(v sense.View) []plan.PodID {
	if v.Elsewhere != nil { // those it takes to say so are not all shown
		return v.Elsewhere.Afar
	}
	return blame.Afar(v.Verdicts)
}

// sending is the bottlenecks behind which somebody sends.
func sending(v sense.View, uses []senders.Use) blame.Sending {
	active := blame.Active(v.Senders, uses)
	if v.Elsewhere != nil {
		for _, b := range v.Elsewhere.Sending {
			active[b], active[plan.Cluster] = true, true
		}
	}
	return active
}

// behind reports whether there is a budget for a bottleneck.
func (s *State) behind(b plan.Bottleneck) bool {
	_, found := plan.Find(s.Budgets, b)
	return found
}

// take goes on with what was known of a bottleneck.
func (r *round) take(b plan.Bottleneck, known *State) {
	r.state.Budgets = append(r.state.Budgets, budget.Budget{Bottleneck: b})
	next := &r.state.Budgets[len(r.state.Budgets)-1]
	if i, found := plan.Find(known.Budgets, b); found {
		*next = known.Budgets[i]
	}
	var account Account
	if i, found := plan.Find(known.Accounts, b); found {
		account = known.Accounts[i]
	}
	if r.bottleneck(next, &account); account.open() {
		r.state.Accounts = append(r.state.Accounts, account)
	}
}

// corroborated is all verdicts as far as they are believed.
func corroborated(all []sense.Verdict, sending blame.Sending) []sense.Verdict {
	copied := false
	for i := range all {
		v := believed(&all[i], sending)
		if v == &all[i] {
			continue
		}
		if !copied {
			all, copied = slices.Clone(all), true
		}
		all[i] = *v
	}
	return all
}

// ordered returns v with all in their order, so that equal observations give equal plans.
func ordered(v sense.View) sense.View {
	v.Apps, v.Verdicts = plan.Ordered(v.Apps), plan.Ordered(v.Verdicts)
	v.Senders, v.Told = plan.Ordered(v.Senders), plan.Ordered(v.Told)
	return v
}
