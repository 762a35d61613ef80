package adaptive

import (
	"slices"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Part is what is remembered of the uplinks of some nodes, and of the senders and apps
// in o: those behind them, and those that have a say there.
func (s State) Part(o plan.Observation, nodes func(string) bool) State {
	return State{
		Uses:      known(s.Uses, o.Senders),
		Diagnoses: known(s.Diagnoses, o.Apps),
		Budgets:   slices.DeleteFunc(slices.Clone(s.Budgets), func(b budget.Budget) bool { return !nodes(b.Bottleneck.Node) }),
		Accounts:  slices.DeleteFunc(slices.Clone(s.Accounts), func(a budget.Account) bool { return !nodes(a.Bottleneck.Node) }),
		Feedback:  senders.Feedback{Pending: known(s.Feedback.Pending, o.Senders), Delays: s.Feedback.Delays},
		Flushes:   known(s.Flushes, o.Senders),
	}
}

// known are those of all that are wanted; both in the same order.
func known[T any, W plan.Keyed[plan.PodID], P plan.Place[T, plan.PodID]](all []T, wanted []W) []T {
	var out []T
	for i := range wanted {
		if k, found := plan.Find[T, plan.PodID, P](all, wanted[i].Key()); found {
			out = append(out, all[k])
		}
	}
	return out
}

// Elsewhere is what counts, for the part of all that is shown, of the rest: s is what is
// remembered after the step that was shown all.
func (s State) Elsewhere(all, part plan.Observation, nodes func(string) bool) plan.Elsewhere {
	e := plan.Elsewhere{Delays: s.Feedback.Delays}
	active := blame.Active(all.Senders, s.Uses)
	note := func(node string) {
		if b := plan.Uplink(node); !nodes(node) && active[b] {
			e.Sending = append(e.Sending, b)
			delete(active, b)
		}
	}
	for i := range part.Apps {
		note(part.Apps[i].Node)
		for k := range part.Apps[i].Sessions {
			note(part.Apps[i].Sessions[k].Vantage)
		}
	}
	var other plan.Bottleneck
	for b := range active {
		if !b.Whole && !nodes(b.Node) && (other.Node == "" || b.Compare(other) < 0) {
			other = b
		}
	}
	if other.Node != "" {
		e.Sending = append(e.Sending, other)
	}
	slices.SortFunc(e.Sending, plan.Bottleneck.Compare)
	for _, d := range known(s.Diagnoses, part.Apps) {
		if d.Afar {
			e.Afar = append(e.Afar, d.App)
		}
		if d.Bottleneck == (plan.Bottleneck{}) {
			e.Unsure = append(e.Unsure, d.App)
		}
	}
	for _, f := range known(s.Flushes, part.Senders) {
		if f.At.Equal(all.At) {
			e.Turns++
		}
	}
	return e
}
