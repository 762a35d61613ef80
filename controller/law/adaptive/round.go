package adaptive

import (
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/limits"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/law/share"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// round is one step in the making.
type round struct {
	config    Config
	view      sense.View
	senders   senders.Look
	blame     blame.Look
	opinion   blame.Opinion   // that counts for the bottleneck in hand
	budgets   []budget.Budget // each has its reason in the plan
	accounts  []budget.Account
	blamed    []plan.Bottleneck // anew
	returning share.Returning
	parts     []limits.Part
	plan      plan.Plan
}

// take goes on with what was known of a bottleneck.
func (r *round) take(b plan.Bottleneck, known *State) {
	next, account := budget.Budget{}, find(known.Accounts, b)
	if i, found := plan.FindNear(known.Budgets, b, len(r.budgets)); found { // they are mostly those of before
		next = known.Budgets[i]
	}
	next.Bottleneck = b
	r.budgets = append(r.budgets, next)
	if r.bottleneck(&r.budgets[len(r.budgets)-1], &account); account.Open() {
		r.accounts = append(r.accounts, account)
	}
}

// bottleneck decides on one budget and divides it.
func (r *round) bottleneck(b *budget.Budget, account *budget.Account) {
	place := r.blame.Place(b.Bottleneck)
	if !b.Bottleneck.Whole { // who slows down tells of those behind the same uplink
		r.senders.Reconsider(place.Senders)
	}
	part := limits.Part{At: len(r.plan.Reasons), Group: r.senders.Group(place.Senders)}
	load := &part.Load
	load.Paced = load.Paced || load.Sockets && (part.Held || b.Link.Paced(r.view.At))
	told := find(r.view.Told, b.Bottleneck)
	b.Prepare(r.config.Budget, load.Limits, r.view.At)
	b.Believe(r.config.Budget, *load, told)
	r.opinion = r.blame.Opinion(place, b.Link.EffectBy)
	reason := plan.Reason{Bottleneck: b.Bottleneck, Phase: b.Phase, Action: plan.Hold, Cause: plan.NotThrottling}
	out := budget.Outcome{Escalate: r.opinion.Trouble()}
	if len(place.Senders) > 0 {
		reason, out = r.decide(b, account, &part.Group, told, place)
	}
	r.escalate(place, out, reason.Action == plan.Restore)
	if reason.Action == plan.Cut {
		r.cut(b, account, &part.Group)
	}
	if len(place.Senders) > 0 {
		reason.Charge = account.Charge(b.Total)
	}
	switch {
	case reason.Action == plan.Restore:
		part.Division = r.returning.Return(&part.Group, b.Trouble.Before.Limits, len(r.view.Senders))
	case b.Learned() || reason.Action != plan.Hold:
		part.Division = share.Divide(b, &part.Group, &r.senders, reason.Action == plan.Grow)
	}
	r.plan.Reasons = append(r.plan.Reasons, explain(reason, &r.opinion))
	if part.To != nil || reason.Trouble() {
		r.parts = append(r.parts, part)
	}
}

// decide asks the budget, unless who is to be helped has cost the others too much.
func (r *round) decide(b *budget.Budget, account *budget.Account, g *senders.Group, told plan.Told, place blame.Place) (plan.Reason, budget.Outcome) {
	opinion := &r.opinion
	t := budget.Turn{
		Config: r.config.Budget, Sense: r.config.Sense, Decrease: r.config.Blind == BlindDecrease,
		Now: r.view.At, Feedback: r.senders.Usual, Pending: g.Pending, Held: g.Held, Opinion: opinion, Load: g.Load, Told: told, Senders: g.Senders,
	}
	who, cost := account.App, account.Cost(b.Total, g.Load, r.config.Blame.HarmShare, r.view.At)
	if payer, spent := r.blame.Charge(who, cost); spent {
		reason := t.GiveBack(b, account.Before)
		reason.App = account.App
		*account, opinion.Verdict = budget.Account{}, *payer
		return reason, budget.Outcome{}
	}
	if opinion.Trouble() || b.Draining() || b.Phase == plan.Trying {
		t.Paths = r.blame.Paths(place)
	}
	reason := t.Decide(b)
	if t.Empty {
		r.plan.Empty = append(r.plan.Empty, r.blame.Empty(place)...)
	}
	return reason, t.Outcome
}

// escalate has those that cuts do not help here look elsewhere.
func (r *round) escalate(place blame.Place, out budget.Outcome, tried bool) {
	opinion := &r.opinion
	if !out.Escalate {
		return
	}
	next, nowhere := r.blame.Escalate(opinion, place, tried)
	r.blamed = append(r.blamed, next...)
	if nowhere && out.Idle {
		r.plan.Idle = append(r.plan.Idle, plan.Idle{App: r.view.Apps[opinion.App].Pod, Delay: opinion.Worst.Tail})
	}
}

// cut notes for whom a cut was made, and at the first in a row how it was before.
func (r *round) cut(b *budget.Budget, account *budget.Account, g *senders.Group) {
	if b.CutAnew(r.view.At) {
		r.senders.Presume(g.Members)
		b.Trouble.Before.Limits = r.returning.Before(g, &r.senders)
	}
	app := r.opinion.App
	if app < 0 {
		return
	}
	if b.Draining() { // not a small try that was undone
		r.blame.Helped(app)
	}
	if b.Link.Cut.Equal(r.view.At) { // not one that was planned before
		account.Book(r.view.Apps[app].Pod, b, r.view.At)
	}
}

// explain adds what was measured to a reason. Where all is well but for a target that
// cannot be met, that is the reason.
func explain(r plan.Reason, o *blame.Opinion) plan.Reason {
	v := &o.Verdict
	switch r.Cause {
	case plan.Calm, plan.NearTarget, plan.Unused, plan.NotThrottling:
		if o.Unmet != nil && r.Action == plan.Hold {
			r.Cause, v = plan.CannotMeet, o.Unmet
		}
	}
	if v.App == nil || v.Blind {
		return r
	}
	if v.Elsewhere != nil {
		v = v.Elsewhere
	}
	r.App, r.Samples = v.App.Pod, v.Worst.Samples
	r.Signal, r.Measured, r.Target, r.Ratio = v.Figure()
	return r
}

// find is what there is of a bottleneck; zero where there is nothing.
func find[T any, P plan.Place[T, plan.Bottleneck]](all []T, b plan.Bottleneck) (x T) {
	if i, found := plan.Find[T, plan.Bottleneck, P](all, b); found {
		x = all[i]
	}
	return x
}
