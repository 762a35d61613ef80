// Package adaptive keeps one budget per bottleneck below what fits through it,
// learned from the delay of probes, and divides it among the senders: sense says
// how late whom is, blame where to look, budget how much is let through, share who
// gets it. docs/control-law.md explains it.
package adaptive

import (
	"cmp"
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
		if _, taken := r.gave(b); !taken {
			r.take(b, &s)
		}
	}
	r.limits()
	next.Feedback.Expect(r.plan, v.Senders)
	slices.SortFunc(next.Budgets, func(a, b budget.Budget) int { return a.Bottleneck.Compare(b.Bottleneck) })
	slices.SortFunc(next.Accounts, func(a, b Account) int { return a.Bottleneck.Compare(b.Bottleneck) })
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

func (s *State) find(b plan.Bottleneck) (int, bool) {
	return slices.BinarySearchFunc(s.Budgets, b, func(x budget.Budget, b plan.Bottleneck) int { return x.Bottleneck.Compare(b) })
}

func (s *State) behind(b plan.Bottleneck) bool {
	_, found := s.find(b)
	return found
}

// take goes on with what was known of a bottleneck.
func (r *round) take(b plan.Bottleneck, known *State) {
	r.state.Budgets = append(r.state.Budgets, budget.Budget{Bottleneck: b})
	next := &r.state.Budgets[len(r.state.Budgets)-1]
	if i, found := known.find(b); found {
		*next = known.Budgets[i]
	}
	var account Account
	if i, found := slices.BinarySearchFunc(known.Accounts, b, func(a Account, b plan.Bottleneck) int { return a.Bottleneck.Compare(b) }); found {
		account = known.Accounts[i]
	}
	if r.bottleneck(next, &account); account.open() {
		r.state.Accounts = append(r.state.Accounts, account)
	}
}

// corroborated leaves out the one path of three and more that says something else
// than all others, unless its own node sends.
func corroborated(all []sense.Verdict, sending blame.Sending) []sense.Verdict {
	copied := false
	for i := range all {
		if !alone(&all[i], sending) {
			continue
		}
		if !copied {
			all, copied = slices.Clone(all), true
		}
		all[i] = *all[i].Others
	}
	return all
}

// ordered returns v with apps and senders in their order, so that equal
// observations give equal plans. It copies only what is out of order.
func ordered(v sense.View) sense.View {
	v.Apps = inOrder(v.Apps, func(a, b plan.App) int { return a.Pod.Compare(b.Pod) })
	v.Verdicts = inOrder(v.Verdicts, func(a, b sense.Verdict) int { return a.App.Pod.Compare(b.App.Pod) })
	v.Senders = inOrder(v.Senders, func(a, b plan.Sender) int { return a.Pod.Compare(b.Pod) })
	v.Told = inOrder(v.Told, func(a, b plan.Told) int { return cmp.Compare(a.Node, b.Node) })
	return v
}

func inOrder[T any](all []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(all, compare) {
		return all
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, compare)
	return all
}
