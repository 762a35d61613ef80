package controller

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
)

// calmReports is the time between reports of agents for which nothing is decided: as
// rarely as any agent reports. What is not calm is told before, so that nothing new is
// evidence too, for so much longer (plan.Session.Pause).
const calmReports = time.Second

// tellsFrom is the share of an allowance from which an agent tells of a packet at once: where the
// law acts on less, that nothing new comes is evidence of nothing.
const tellsFrom = 0.25

// catchUp is how long an agent that is asked to report each Period may take until it
// does: it reports when it next measures, and that takes its way.
const catchUp = 3 * Period

// pace has those agents report each Period that tell of what is being decided about:
// of a bottleneck whose budget is searched for, or where a first cut waits to be told what
// is sent by now, and of the apps behind it. The others report less often while they see
// nothing. Of more than mostBusy those come first where something is on its way; where all
// are to tell, they do so less often.
func (t *term) pace(decided []outcome, now time.Time) {
	soft := law.SenseOf(t.settings.Law).Soft
	wanted, all := map[string]bool{}, !urgent(t.settings.Law) || soft < tellsFrom
	for _, d := range decided {
		for i := range d.Reasons {
			if r := &d.Reasons[i]; r.Phase != plan.Open || r.Cause == plan.Confirming {
				wanted[r.Bottleneck.Node] = wanted[r.Bottleneck.Node] || onItsWay(r)
				all = all || r.Bottleneck.Whole
			}
		}
	}
	least, before := t.strain.least, t.busy
	if most := len(t.snapshot.Agents); all && most > mostBusy {
		least = max(least, min(Period*time.Duration((most+mostBusy-1)/mostBusy), calmReports))
	}
	again := t.again()
	if t.paced && all == before.all && least == before.least && again == before.again && maps.Equal(wanted, before.wanted) {
		return
	}
	t.paced, t.busy = true, busy{
		wanted: wanted, nodes: map[string]time.Time{}, agents: map[types.UID]time.Time{}, all: all, since: now, asked: before.asked || !all,
		least: least, again: again, were: max(least, before.least), changed: now,
	}
	if least == before.least {
		t.busy.were, t.busy.changed = before.were, before.changed
	}
	told := agents.Pace{Least: max(least, again), Strained: least > 0, Soft: soft}
	if all {
		if before.all {
			t.busy.since = before.since
		}
		t.loop.Measurements.Pace(told)
		return
	}
	t.ask(before.nodes, now)
	keep(t.busy.nodes, before.nodes)
	keep(t.busy.agents, before.agents)
	told.Calm, told.Busy = calmReports, make(map[types.UID]bool, len(t.busy.agents))
	for agent := range t.busy.agents {
		told.Busy[agent] = true
	}
	t.loop.Measurements.Pace(told)
}

// again is the time between what an agent tells at once and what it tells at once after that, while a
// session hurries: where many are there, many can have something to tell.
func (t *term) again() time.Duration {
	each := time.Second * time.Duration(len(t.snapshot.Agents)) / quickReports
	return min(each, Period).Truncate(10 * time.Millisecond) // each word of it goes to all
}

// onItsWay reports whether something that was decided about a bottleneck has yet to show.
func onItsWay(r *plan.Reason) bool {
	switch r.Phase {
	case plan.Settled, plan.Exploring, plan.Released:
		return false
	}
	return true
}

// ask chooses the nodes of which is told each Period from now on, and who tells: before all
// others those where something is on its way, then those of which was told already.
func (t *term) ask(before map[string]time.Time, now time.Time) {
	b := &t.busy
	if len(b.wanted) == 0 {
		return
	}
	tellers := t.tellers()
	order := slices.SortedFunc(maps.Keys(b.wanted), func(x, y string) int {
		_, wasX := before[x]
		_, wasY := before[y]
		return cmp.Or(first(b.wanted[x], b.wanted[y]), first(wasX, wasY), cmp.Compare(x, y))
	})
	for _, node := range order {
		more := 0
		for _, agent := range tellers[node] {
			if _, asked := b.agents[agent]; !asked {
				more++
			}
		}
		if len(b.agents)+more > mostBusy {
			continue
		}
		b.nodes[node] = now
		for _, agent := range tellers[node] {
			b.agents[agent] = now
		}
	}
}

func first(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// keep leaves the times of those that were there before.
func keep[K comparable](is, was map[K]time.Time) {
	for key := range is {
		if since, known := was[key]; known {
			is[key] = since
		}
	}
}

// rests reports whether there is nothing to decide before the next calm reports are
// in: nothing is being decided about, nothing came that is worth it, and all is as it was.
func (t *term) rests(now time.Time) bool {
	stirred := t.loop.Measurements.Stirred()
	return t.calm() && !stirred &&
		t.settings == t.loop.settings.Load() && t.snapshot == t.loop.Inventory.Snapshot() &&
		now.Sub(t.last) < calmReports-Period/2
}

// busy are the bottlenecks that are being decided about, and who tells of them, and since
// when.
type busy struct {
	wanted  map[string]bool      // nodes that are being decided about, and whether something is on its way there
	nodes   map[string]time.Time // of them those that are told of each Period
	agents  map[types.UID]time.Time
	all     bool          // agents tell
	since   time.Time     // they do
	asked   bool          // agents were asked to report less often
	least   time.Duration // between two reports of an agent; 0: Period
	again   time.Duration // between what an agent tells at once
	were    time.Duration // least, or until lately what it was
	changed time.Time     // least was
}

// ofNode and ofAgent say how much longer than else nothing new may have come by now: from the agents
// on a node about its pods, and from an agent about its sessions.
func (b *busy) ofNode(name string, now time.Time) time.Duration { return pause(b, b.nodes, name, now) }
func (b *busy) ofAgent(uid types.UID, now time.Time) time.Duration {
	return pause(b, b.agents, uid, now)
}

func pause[K comparable](b *busy, tell map[K]time.Time, key K, now time.Time) time.Duration {
	since, tells := b.since, b.all
	if !tells && len(tell) > 0 {
		since, tells = tell[key]
	}
	switch {
	case b.asked && !(tells && now.Sub(since) >= catchUp):
		return calmReports
	case now.Sub(b.changed) < b.were+catchUp:
		return b.were
	}
	return b.least
}

// tellers are, for each node that is being decided about, the agents on it, and those who
// measure the apps there: no more than half of those who can be asked.
func (t *term) tellers() map[string][]types.UID {
	tell := map[string][]types.UID{}
	for _, a := range t.snapshot.Agents {
		if _, busy := t.busy.wanted[a.Node]; busy {
			tell[a.Node] = append(tell[a.Node], a.UID)
		}
	}
	for i, app := range t.snapshot.Apps {
		if _, busy := t.busy.wanted[app.Node]; !busy {
			continue
		}
		for _, s := range t.paths[i].sessions {
			if s.query == "" && len(tell[app.Node]) < mostBusy/2 && !slices.Contains(tell[app.Node], s.agent.UID) {
				tell[app.Node] = append(tell[app.Node], s.agent.UID)
			}
		}
	}
	return tell
}

// calm reports whether nothing is being decided about: the next round may be calmReports away.
func (t *term) calm() bool { return t.paced && !t.busy.all && len(t.busy.wanted) == 0 }
