// Package controller is the loop: observe, let the law decide, actuate, show.
// Every 100 ms, each second while all is calm, it joins the inventory with what the agents measured, hands that
// to the law, submits the limits that the law wants changed and publishes one
// status that all else is read from. Whatever must survive a restart is in the
// pods' annotations.
package controller

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/workload"
)

// Period is the time between two decisions: that of the agents' reports. One comes
// earlier when an agent says that a session has become late, leastPeriod after the
// one before at the earliest.
const (
	Period      = 100 * time.Millisecond
	leastPeriod = 20 * time.Millisecond
)

// urgent reports whether a law gains from deciding early: the others are to the
// number those of the original, which keep their pace.
func urgent(l law.Law) bool { return l.Name() == law.Adaptive }

// Inventory says who runs where.
type Inventory interface {
	Snapshot() *inventory.Snapshot
	Synced() <-chan struct{}
}

// Measurements runs sessions on agents and keeps what they report.
type Measurements interface {
	Assign(context.Context, []agents.Assignment, []*inventory.Sender)
	Look(*agents.Look, time.Time)
	News([]agents.News, time.Time) []agents.News
	Session(id string, now time.Time) agents.Measurement
	State(inventory.Agent) agents.State
	Urgent() <-chan struct{} // receives when an agent has reported before its time
	Stirred() bool           // something worth a decision has come since the last call
	Limit(term uint64, node string, pods []agents.Limit)
	Taken() bool // an agent enforces what it is told
	Pace(agents.Pace)
	Reports() uint64 // received so far
	Wait()
}

// Queries asks Prometheus for what others measured.
type Queries interface {
	Ask(context.Context, []promql.Wanted)
	Answer(text string, now time.Time) promql.Answer
	Wait()
}

// Limits writes limits to pods.
type Limits interface {
	Submit([]actuate.Change)
	Waiting() actuate.Waiting
	Forget(kept func(plan.PodID) bool)
	Run(context.Context)
}

// Settings may change while the loop runs.
type Settings struct {
	Law      law.Law
	Config   law.Config // what Law was made from, for the recording
	Mode     workload.ControlMode
	Vantages int // sessions per critical pod
}

// Loop is the controller. Its fields are set before Start and not after.
type Loop struct {
	Inventory    Inventory
	Measurements Measurements
	Queries      Queries
	Limits       Limits
	// Refused are the pods whose limits the API server refuses to change, with
	// its words; nil knows of none. No law is shown them: what they send is
	// traffic that nobody controls.
	Refused func() map[types.UID]string
	// HostRouting reports whether Cilium's pods notice the queue at their limits
	// (plan.EDTHostRouting); nil: they do not.
	HostRouting func() bool
	// Term returns the number of the present leader's term, greater than those
	// before; nil: limits go no other road than the annotations.
	Term func(context.Context) (uint64, error)
	// Leads reports whether this replica certainly leads; nil: there is no other.
	// Speaks reports that it may decide for agents that take limits although it is
	// not certain, because the API server is away. Else nothing is decided.
	Leads, Speaks func() bool

	Events  Events
	Metrics *Metrics
	Log     *slog.Logger
	Replica string
	Version string
	Flight  flight.Recorder
	Turns   *alive.Part // told of each tick; may be nil

	settings atomic.Pointer[Settings]
	newest   atomic.Pointer[frame] // nil: another replica leads
}

// Set gives the loop its settings; once before Start, and again on a change. A
// new law starts from the limits in force.
func (l *Loop) Set(s Settings) { l.settings.Store(&s) }

// Status returns the newest status. A replica that does not lead says so.
func (l *Loop) Status() *status.Status {
	for f := l.newest.Load(); f != nil; f = l.newest.Load() {
		if s := f.status(); s != nil {
			return s
		}
	}
	settings := l.settings.Load()
	return &status.Status{
		At: time.Now(), Version: l.Version, Replica: l.Replica,
		Mode: string(settings.Mode), Law: settings.Law.Name(),
	}
}

// Reasons are those of the newest decision; false where this replica enforces nothing.
func (l *Loop) Reasons() ([]status.Reason, bool) {
	f := l.newest.Load()
	if f == nil || f.settings.Mode != workload.Enforce {
		return nil, false
	}
	return f.reasons(), true
}

// Start runs the loop until ctx ends, for one term. One loop at a time may run.
func (l *Loop) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.Inventory.Synced():
	}
	t := term{loop: l, roads: roads{term: l.term(ctx)}}
	if ctx.Err() != nil {
		return nil // it ended before it had a number
	}
	l.Log.Info("leading", "replica", l.Replica, "term", t.roads.term)
	defer l.newest.Store(nil)
	var writer sync.WaitGroup
	writer.Go(func() { l.Limits.Run(ctx) })

	t.run(ctx)
	writer.Wait()
	l.Limits.Forget(func(plan.PodID) bool { return false }) // what was decided as it ended
	l.Measurements.Wait()
	l.Queries.Wait()
	return nil
}

// run decides every Period, and early where that is asked for.
func (t *term) run(ctx context.Context) {
	l := t.loop
	ticker, pause := time.NewTicker(Period), time.NewTimer(0)
	defer ticker.Stop()
	defer pause.Stop()
	defer t.collector.hurry(false)
	var early <-chan struct{} // nil until leastPeriod has passed since the last decision
	var took time.Duration    // the last turn
	turn := func(due time.Time) {
		if !l.decides() {
			return // its time is over, or it renews in a moment
		}
		now := time.Now() // the tick's own time may be old
		t.last = now
		l.Turns.Begin()
		t.tick(ctx, now)
		l.Turns.End()
		took = time.Since(now)
		l.Metrics.ticked(took)
		if !due.IsZero() {
			t.strain.turn(time.Since(due))
		}
		calm := t.calm()
		if t.collector.hurry(!calm); calm {
			t.collector.rested(time.Now())
		}
		early = nil
		pause.Reset(min(max(leastPeriod, took), Period)) // reports have their turn too
	}
	turn(time.Time{}) // agents hear of a new leader as soon as there is one
	for ctx.Err() == nil {
		select {
		case <-pause.C:
			early = l.Measurements.Urgent()
			continue
		case <-ctx.Done():
			return
		case <-early:
			turn(time.Time{})
		case due := <-ticker.C:
			if early == nil && took > Period/2 {
				continue
			}
			if now := time.Now(); t.rests(now) {
				t.takeIn(now)
				continue
			}
			turn(due)
		}
	}
}

// decides reports whether somebody may be told what would be decided now.
func (l *Loop) decides() bool {
	return l.Leads == nil || l.Leads() || l.Speaks != nil && l.Speaks() && l.Measurements.Taken()
}

// term is what one leader remembers; the next starts without it.
type term struct {
	loop        *Loop
	settings    *Settings
	snapshot    *inventory.Snapshot
	placing     placing
	assignments []agents.Assignment
	paths       []*paths // in the order of the snapshot's apps
	look        agents.Look
	measured    []plan.PodID // by each session of it
	news        []agents.News
	room        room // for the next observation
	modes       modes
	inOrder     bool // apps and senders of the snapshot are
	busy        busy
	paced       bool // and the agents were told
	begins      bool // nobody was assigned anything yet
	strain      strain
	collector   collector
	uplinks     uplinks
	last        time.Time            // tick
	refused     map[types.UID]string // senders whose limits can't be changed, and why
	sense       sense.Memory
	enforced    law.State
	observed    law.State
	roads       roads
	journal     journal
}

// termWait is the time between two tries to learn the number of the term.
const termWait = 250 * time.Millisecond

// term asks for the number of this leader's term until it is known; 0: ctx has
// ended, or nobody numbers.
func (l *Loop) term(ctx context.Context) uint64 {
	if l.Term == nil {
		return 0
	}
	ticker := time.NewTicker(termWait)
	defer ticker.Stop()
	for told := false; ; told = true {
		n, err := l.Term(ctx)
		if ctx.Err() != nil {
			return 0 // the number may be the next one's
		}
		if err == nil {
			return n
		}
		if !told {
			l.Log.Warn("nothing is decided before the number of the term is known", "err", err)
		}
		select {
		case <-ctx.Done():
			return 0
		case <-ticker.C:
		}
	}
}

func (t *term) tick(ctx context.Context, now time.Time) {
	settings, snapshot := t.loop.settings.Load(), t.loop.Inventory.Snapshot()
	nodes := map[string]bool{} // on which others may be limited than before; nil: all
	if settings != t.settings || snapshot != t.snapshot {
		nodes = t.adopt(ctx, settings, snapshot)
	}
	if t.loop.Refused != nil {
		if refused := t.loop.Refused(); !maps.Equal(t.refused, refused) {
			t.refused, nodes = refused, nil
		}
	}
	if nodes == nil || len(nodes) > 0 {
		t.roads.tell(snapshot, t.refused, t.loop.Measurements, nodes)
	}
	view := t.sense.Observe(law.SenseOf(settings.Law), t.observe(snapshot, now))

	var steps []step
	var decided []outcome
	if t.modes.enforce {
		enforced := t.decide(&t.enforced, workload.Enforce, view)
		t.limit(changes(enforced.plan, snapshot, view), now) // what else there is to do waits for that
		steps, decided = append(steps, enforced), append(decided, outcome{Plan: enforced.plan})
	}
	if t.modes.observe {
		observed := t.decide(&t.observed, workload.Observe, view)
		steps, decided = append(steps, observed), append(decided, outcome{Plan: concerning(observed.plan, snapshot), observed: true})
	}
	t.strain.note(now, t.loop.Measurements.Reports(), len(snapshot.Agents))
	t.pace(decided, now)
	if t.begins { // its streams would take the processor from a first round, and be told another pace after it
		t.begins = false
		t.loop.Measurements.Assign(ctx, t.assignments, snapshot.Senders)
	}
	for _, s := range steps {
		t.loop.Flight.Record(s.mode, s.before, s.next, s.seen, s.plan)
	}
	t.journal.record(ctx, t.loop, snapshot, decided)
	before := t.loop.newest.Swap(&frame{
		loop: t.loop, settings: settings, snapshot: snapshot, paths: t.paths, view: view, refused: t.refused, decided: decided, decisions: t.journal.decisions,
		room: t.room,
	})
	t.room = room{}
	if before != nil {
		if unused, free := before.retire(); free {
			t.room = unused.emptied()
		}
	}
}

// limit sends changes on their roads, unless the lead was lost while they were
// decided.
func (t *term) limit(changes []actuate.Change, now time.Time) {
	if !t.loop.decides() {
		return
	}
	r := &t.roads
	if len(changes) > 0 {
		r.number(changes, t.snapshot, t.look.Usage)
		r.tell(t.snapshot, t.refused, t.loop.Measurements, nodesOf(changes, t.snapshot))
	}
	t.loop.Limits.Submit(append(changes, r.behind(t.snapshot, t.refused, t.look.Usage, now)...))
}

// step is one of a law, for the recording.
type step struct {
	mode         workload.ControlMode
	before, next law.State
	seen         plan.Observation
	plan         plan.Plan
}

// decide runs the law over what mode allows.
func (t *term) decide(state *law.State, mode workload.ControlMode, v sense.View) step {
	before, seen := *state, t.within(v, mode)
	next, p := t.settings.Law.Step(before, seen)
	*state = next
	t.sense.Learn(p)
	return step{mode, before, next, seen.Observation, p}
}

// adopt takes over a new inventory or new settings, and returns the nodes on which
// others may be limited than before; nil: all.
func (t *term) adopt(ctx context.Context, settings *Settings, snapshot *inventory.Snapshot) map[string]bool {
	if t.settings == nil || settings.Law != t.settings.Law {
		t.enforced, t.observed = law.State{}, law.State{}
		t.loop.Flight.Begin(t.loop.Version, settings.Law.Name(), settings.Config)
	}
	// Most changes are limits, our own writes: they concern nobody below.
	placed := !samePlaces(t.snapshot, snapshot) || t.settings == nil || settings.Vantages != t.settings.Vantages || settings.Law != t.settings.Law
	if placed {
		t.assignments, t.paths = t.placing.place(snapshot, settings.Vantages, urgent(settings.Law))
		t.look.Sessions, t.measured = idsOf(t.paths, snapshot.Apps)
		t.paced = false
	}
	nodes := moved(t.snapshot, snapshot)
	if placed || nodes == nil || len(nodes) > 0 {
		if t.begins = t.snapshot == nil; !t.begins {
			t.loop.Measurements.Assign(ctx, t.assignments, snapshot.Senders)
		}
		t.loop.Limits.Forget(func(pod plan.PodID) bool {
			s := find(snapshot, pod)
			return s != nil && s.Mode == workload.Enforce
		})
		t.roads.forget(t.snapshot, snapshot)
	}
	t.loop.Queries.Ask(ctx, queriesOf(snapshot))
	if t.snapshot == nil || !sameList(t.snapshot.Problems, snapshot.Problems) {
		t.journal.problems(t.loop, snapshot.Problems)
	}
	t.settings, t.snapshot, t.modes = settings, snapshot, modesOf(snapshot)
	t.inOrder = slices.IsSortedFunc(snapshot.Apps, func(a, b *inventory.App) int { return a.Pod.Compare(b.Pod) }) &&
		slices.IsSortedFunc(snapshot.Senders, func(a, b *inventory.Sender) int { return a.Pod.Compare(b.Pod) })
	return nodes
}

// outcome is one plan and whether it was only for show.
type outcome struct {
	plan.Plan
	observed bool
}

// changes turns a plan's limits into what is to be enforced and written.
func changes(p plan.Plan, s *inventory.Snapshot, v sense.View) []actuate.Change {
	var out []actuate.Change
	for _, limit := range p.Limits {
		i, known := index(s, limit.Pod)
		if !known || s.Senders[i].Mode != workload.Enforce {
			continue
		}
		c := changeOf(s.Senders[i], limit)
		if seen := v.Senders[i].Rates; len(seen) > 0 {
			c.Takes = max(0, seen[len(seen)-1].Tx-c.To)
		}
		out = append(out, c)
	}
	return out
}

// find returns the sender of this name, nil if there is none.
func find(s *inventory.Snapshot, pod plan.PodID) *inventory.Sender {
	if i, known := index(s, pod); known {
		return s.Senders[i]
	}
	return nil
}

func index(s *inventory.Snapshot, pod plan.PodID) (i int, known bool) {
	return slices.BinarySearchFunc(s.Senders, pod, func(x *inventory.Sender, id plan.PodID) int { return x.Pod.Compare(id) })
}

func changeOf(s *inventory.Sender, limit plan.Limit) actuate.Change {
	c := actuate.Change{Limit: limit, UID: s.UID, Min: s.Min, Max: s.Max, Recorded: s.Limit, Before: s.Before}
	if limit.Below {
		c.Min = 0
	}
	c.To = actuate.Fit(c)
	return c
}

// concerning drops what a dry run decided about pods that the real run
// controls.
func concerning(p plan.Plan, s *inventory.Snapshot) plan.Plan {
	observed := map[plan.PodID]bool{}
	for _, app := range s.Apps {
		observed[app.Pod] = app.Mode == workload.Observe
	}
	for _, sender := range s.Senders {
		observed[sender.Pod] = sender.Mode == workload.Observe
	}
	out := plan.Plan{At: p.At}
	keep := make([]bool, len(p.Reasons))
	for i, r := range p.Reasons {
		keep[i] = observed[r.App]
	}
	for _, limit := range p.Limits {
		if observed[limit.Pod] {
			keep[limit.Reason] = true
		}
	}
	index := make([]int, len(p.Reasons))
	for i, r := range p.Reasons {
		if keep[i] {
			index[i] = len(out.Reasons)
			out.Reasons = append(out.Reasons, r)
		}
	}
	for _, limit := range p.Limits {
		if observed[limit.Pod] {
			limit.Reason = index[limit.Reason]
			out.Limits = append(out.Limits, limit)
		}
	}
	return out
}
