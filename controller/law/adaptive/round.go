package adaptive

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/law/share"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// round is one step in the making.
type round struct {
	config  Config
	view    sense.View
	state   *State
	sending blame.Sending
	index   *index
	usual   time.Duration     // from patch to effect
	awaited []bool            // senders that have yet to obey; nil if none
	blamed  []plan.Bottleneck // anew
	groups  []group           // of bottlenecks that change or forbid anything
	plan    plan.Plan

	burst   map[string]bool // nodes where a change made a burst lately; nil until somebody asks
	flushed []senders.Flush // that begin at this step

	// Limits that a bottleneck is returning to at this very step, by sender; nil if
	// none is.
	returning []bitrate.Rate
}

// bottleneck decides on one budget and divides it.
func (r *round) bottleneck(b *budget.Budget, account *Account) {
	members, apps := r.members(b.Bottleneck)
	g := r.group(members)
	g.load.Paced = g.load.Paced || g.load.Sockets && b.Link.Bursts(r.view.At)
	told := r.told(b.Bottleneck)
	b.Prepare(r.config.Budget, g.load.Limits, r.view.At)
	b.Believe(r.config.Budget, g.load, told)
	opinion, unmet, app := r.opinion(b.Bottleneck, apps, b.Link.EffectBy)
	reason := plan.Reason{Bottleneck: b.Bottleneck, Phase: b.Phase, Action: plan.Hold, Cause: plan.NotThrottling}
	out := budget.Outcome{Escalate: opinion.Trouble()}
	if len(members) > 0 {
		reason, out = r.decide(b, account, &opinion, &g, told, apps)
	}
	if out.Escalate && app >= 0 {
		r.escalate(app, &opinion.Verdict, b.Bottleneck, apps, reason.Action == plan.Restore, out.Idle)
	}
	if reason.Action == plan.Cut {
		r.cut(b, account, app, &g)
	}
	if len(members) > 0 {
		reason.Charge = account.charge(b.Total)
	}
	g.at = len(r.plan.Reasons)
	r.divide(b, &g, reason.Action)
	r.plan.Reasons = append(r.plan.Reasons, explain(reason, &opinion.Verdict, unmet))
	if g.to != nil || reason.Trouble() {
		r.groups = append(r.groups, g)
	}
}

// decide asks the budget, unless who is to be helped has cost the others too much.
func (r *round) decide(b *budget.Budget, account *Account, opinion *budget.Opinion, g *group, told plan.Told, apps []int32) (reason plan.Reason, out budget.Outcome) {
	t := budget.Turn{
		Config: r.config.Budget, Sense: r.config.Sense, Decrease: r.config.Blind == BlindDecrease,
		Now: r.view.At, Feedback: r.usual, Pending: g.pending, Held: g.held, Opinion: opinion, Load: g.load, Told: told, Senders: g.senders,
	}
	if payer, spent := r.tooCostly(account, b.Total, g.load); spent {
		reason = t.GiveBack(b, account.Before)
		reason.App = account.App
		*account, opinion.Verdict = Account{}, r.view.Verdicts[payer]
		return reason, out
	}
	if opinion.Trouble() || b.Draining() || b.Phase == plan.Trying {
		t.Paths = r.paths(b.Bottleneck, apps)
	}
	reason = t.Decide(b)
	if t.Empty {
		r.empty(b.Bottleneck, apps)
	}
	return reason, t.Outcome
}

// cut notes for whom a cut was made, and at the first in a row how it was before.
func (r *round) cut(b *budget.Budget, account *Account, app int, g *group) {
	if b.CutAnew(r.view.At) {
		b.Trouble.Before.Limits = r.inForce(g)
	}
	if app < 0 {
		return
	}
	r.state.Diagnoses[app].Since = r.view.At
	if b.Link.Cut.Equal(r.view.At) { // not one that was planned before
		account.book(r.view.Apps[app].Pod, b, r.view.At)
	}
}

// escalate has the apps that blame a bottleneck look elsewhere: what was in vain
// for one of them was so for all.
func (r *round) escalate(app int, v *sense.Verdict, b plan.Bottleneck, apps []int32, tried, idle bool) {
	r.blameNext(app, v, tried, idle)
	for _, i := range apps {
		if tried && r.troubled(int(i), b) {
			r.blameNext(int(i), &r.view.Verdicts[i], true, false)
		}
	}
}

// blameNext takes an app's diagnosis to the next candidate. There is none: who is late by
// itself cannot be helped.
func (r *round) blameNext(app int, v *sense.Verdict, tried, idle bool) {
	s := &r.state.Diagnoses[app]
	switch next, moved := s.Move(r.config.Blame, v, r.sending, tried, r.view.At); {
	case moved:
		r.blamed = append(r.blamed, next)
	case idle:
		r.plan.Idle = append(r.plan.Idle, plan.Idle{App: s.App, Delay: v.Worst.Tail})
	}
}

// troubled reports whether an app in trouble blames a bottleneck, by all of its
// samples, and is not left alone.
func (r *round) troubled(app int, b plan.Bottleneck) bool {
	s, v := &r.state.Diagnoses[app], &r.view.Verdicts[app]
	return s.Bottleneck == b && v.Trouble() && !s.LetBe(v, r.view.At)
}

// opinion is that of the app in the worst trouble among those that have a say,
// and its index, or −1; and what is known of the first app whose target cannot be met.
func (r *round) opinion(b plan.Bottleneck, apps []int32, since time.Time) (opinion budget.Opinion, unmet *sense.Verdict, app int) {
	worst := budget.Opinion{Verdict: sense.Verdict{Blind: true}, Silent: true}
	index, partial, awaited := -1, false, false
	var slowest time.Duration
	for _, i := range apps {
		app, s, v := &r.view.Apps[i], &r.state.Diagnoses[i], &r.view.Verdicts[i]
		if !s.Concerns(b, app, v.Trouble()) {
			continue
		}
		worst.Silent = false
		blind := v.Blind
		if v = r.after(since, v); v.Blind {
			awaited = awaited || v.Lag == 0 && r.troubled(int(i), b) // slow signals are not waited for
			partial = partial || b.Node == app.Node && blind
			slowest = max(slowest, v.Lag)
			continue
		}
		if unmet == nil && v.Paths.Unmet > 0 {
			unmet = v
		}
		letBe := v.Trouble() && s.LetBe(v, r.view.At)
		if index < 0 || worse(v, letBe, &worst) {
			worst, index = budget.Opinion{Verdict: *v, LetBe: letBe, Spent: letBe && s.Spent}, int(i)
		}
	}
	worst.Partial, worst.Awaited = partial, awaited
	if worst.Blind {
		worst.Lag = slowest
	}
	return worst, unmet, index
}

// after is the verdict by samples that say nothing of the time before since, where
// others may count.
func (r *round) after(since time.Time, v *sense.Verdict) *sense.Verdict {
	c := &r.config.Sense
	if v.Assumed || r.view.At.Sub(since) >= c.Stale+c.LossWindow+2*v.Lag {
		return v
	}
	again := c.Judge(v.App, since, r.view.At)
	return believed(&again, r.sending)
}

func worse(v *sense.Verdict, letBe bool, than *budget.Opinion) bool {
	return cmp.Or(cmp.Compare(urgency(v, letBe), urgency(&than.Verdict, than.LetBe)), cmp.Compare(v.Excess, than.Excess)) > 0
}

// urgency orders verdicts: trouble that can be acted upon, trouble that is left
// alone and trouble elsewhere (nobody is raised into these either), and none.
func urgency(v *sense.Verdict, letBe bool) int {
	switch {
	case !v.Trouble() && v.Elsewhere == nil:
		return 0
	case !v.Trouble():
		return 1
	case letBe:
		return 2
	}
	return 3
}

// paths are the sessions by which a bottleneck's queue is measured: of all apps
// that have a say in it. Several apps of a node have the same node session.
func (r *round) paths(b plan.Bottleneck, apps []int32) []*plan.Session {
	type path struct{ id, vantage string }
	var all []*plan.Session
	beside := map[path]bool{}
	for _, i := range apps {
		app, s, v := &r.view.Apps[i], &r.state.Diagnoses[i], &r.view.Verdicts[i]
		if !s.Concerns(b, app, v.Trouble()) || v.Trouble() && s.LetBe(v, r.view.At) {
			continue
		}
		for k := range app.Sessions {
			session := &app.Sessions[k]
			own := b.Node == app.Node
			if session.Lag > 0 || own && session.Vantage == app.Node || !own && !b.Whole && b.Node != session.Vantage {
				continue
			}
			knows := sense.OfQueues(app, session)
			if id := (path{knows.ID, knows.Vantage}); knows != session && id.id != "" {
				if beside[id] {
					continue
				}
				beside[id] = true
			}
			all = append(all, knows)
		}
	}
	return all
}

// empty notes that the paths of all apps that blame a bottleneck are empty.
func (r *round) empty(b plan.Bottleneck, apps []int32) {
	for _, i := range apps {
		if r.state.Diagnoses[i].Bottleneck == b {
			r.plan.Empty = append(r.plan.Empty, r.view.Apps[i].Pod)
		}
	}
}

// group is the senders behind a bottleneck, and how its budget is divided among them.
type group struct {
	at      int     // its place in State.Budgets and Plan.Reasons
	members []int32 // in Observation.Senders
	senders []*plan.Sender
	load    budget.Load
	unused  []bitrate.Rate // of each one's limit. No sum has it
	pending bool           // one of them has yet to obey
	held    bool           // the limit of one is low until what waits behind it is gone
	old     bitrate.Rate   // what may go on meanwhile beyond the limits in force
	to      []bitrate.Rate // by member; nil where it does not matter
	floors  []bitrate.Rate // by member, as far as there is enough for all; nil: the own
}

func (r *round) group(members []int32) group {
	g := group{members: members, senders: make([]*plan.Sender, len(members)), unused: make([]bitrate.Rate, len(members))}
	var least bitrate.Rate // that can be written
	for k, i := range members {
		s := &r.view.Senders[i]
		g.senders[k] = s
		floor, ceiling := senders.Bounds(s)
		limit := senders.LimitOf(s)
		g.load.Bound = g.load.Bound || senders.Bound(s, r.state.Uses[i].Recent())
		if !r.state.Uses[i].Idle(r.view.At) {
			g.load.Sending++
		}
		g.unused[k] = r.state.Uses[i].Unused(s, r.view.At)
		promised := floor - min(floor, g.unused[k])
		g.load.Floors += promised
		least += min(promised, bitrate.Min)
		g.load.Limits += limit - g.unused[k]
		g.load.Unused += g.unused[k]
		if from, to := senders.Newest(s); to.After(g.load.Seen) {
			g.load.SeenFrom, g.load.Seen, g.load.Pause = from, to, s.Pause
		}
		g.load.Room = g.load.Room || r.meant(s) > bitrate.Scale(floor, 1+worthRaising)
		g.load.More = g.load.More || limit < ceiling
		g.pending = g.pending || r.awaited != nil && r.awaited[i]
		g.wait(s, r.flush(s.Pod))
	}
	g.load.Peak = senders.PeakSum(g.senders)
	// What is promised to all may be more than there is.
	shrunk := max(g.load.Peak/2, least)
	if much := shrunk + shrunk/8; g.load.Bound && g.load.Floors > much {
		g.load.Floors, g.load.Room = shrunk, g.load.Room || g.load.Limits > much
	}
	return g
}

// divide shares the budget, where that matters to anybody. While no capacity is
// known nobody is lowered in favour of another: a raise adds to the limits in force.
func (r *round) divide(b *budget.Budget, g *group, action plan.Action) {
	switch {
	case action == plan.Restore:
		r.recall(g, b.Trouble.Before.Limits)
		return
	case !b.Learned() && action == plan.Hold:
		return
	}
	claims := make([]share.Claim, len(g.members))
	for k, i := range g.members {
		use := &r.state.Uses[i]
		peak := use.Recent()
		if b.Search.Overbooked.By > 0 && !use.Idle(r.view.At) { // who sends now and then is to find a limit that stays
			peak = use.Bursts()
		}
		claims[k] = share.ClaimOf(g.senders[k], peak)
		if !b.Link.Known && action == plan.Grow {
			claims[k].Floor = max(claims[k].Floor, senders.LimitOf(g.senders[k]))
		}
		if g.unused[k] > 0 {
			claims[k].Lend(g.unused[k])
		}
	}
	share.Shrink(b.Limits(), claims)
	g.to, g.floors = share.Of(b.Limits(), claims), make([]bitrate.Rate, len(claims))
	for k, unused := range g.unused {
		g.to[k] += unused
		g.floors[k] = claims[k].Floor + unused
	}
	if b.Search.Small.Good > 0 {
		r.one(g, b.Total)
	}
}

// one gives all that is tried for to one sender that its limit holds back: each change of a
// limit has a token bucket let through what it holds.
func (r *round) one(g *group, total bitrate.Rate) {
	most := -1
	for k, i := range g.members {
		g.to[k] = senders.LimitOf(g.senders[k])
		if held := senders.Bound(g.senders[k], r.state.Uses[i].Recent()); held && (most < 0 || g.to[k] > g.to[most]) {
			most = k
		}
	}
	if most >= 0 {
		g.to[most] += max(total-g.load.Limits, 0)
	}
}

// inForce is the limits to return to if cuts do not help: those in force, or
// those that another bottleneck is returning to at this very step.
func (r *round) inForce(g *group) []senders.Limit {
	was := make([]senders.Limit, len(g.members))
	for k, i := range g.members {
		s := g.senders[k]
		was[k] = senders.Limit{Pod: s.Pod, Limit: r.meant(s), At: r.view.At}
		if r.returning != nil {
			was[k].Limit = max(was[k].Limit, r.returning[i])
		}
	}
	return was
}

// recall gives the limits back as they were, to the senders that were there.
func (r *round) recall(g *group, was []senders.Limit) {
	g.to = make([]bitrate.Rate, len(g.members))
	if r.returning == nil {
		r.returning = make([]bitrate.Rate, len(r.view.Senders))
	}
	for k, i := range g.members {
		g.to[k] = senders.LimitOf(g.senders[k])
		if w, found := plan.Find(was, g.senders[k].Pod); found {
			g.to[k] = max(g.to[k], was[w].Limit)
		}
		r.returning[i] = max(r.returning[i], g.to[k])
	}
}

// explain adds what was measured to a reason. Where all is well but for a target that
// cannot be met, that is the reason.
func explain(r plan.Reason, v, unmet *sense.Verdict) plan.Reason {
	switch r.Cause {
	case plan.Calm, plan.NearTarget, plan.Unused, plan.NotThrottling:
		if unmet != nil && r.Action == plan.Hold {
			r.Cause, v = plan.CannotMeet, unmet
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

// believed leaves out the one path of three and more that says something else than all
// others, unless its own node sends: its host or clock may be wrong.
func believed(v *sense.Verdict, sending blame.Sending) *sense.Verdict {
	if v.Others == nil || v.Worst.Session == nil || sending[plan.Uplink(v.Worst.Session.Vantage)] {
		return v
	}
	return v.Others
}
