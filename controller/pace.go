package controller

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

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
// nothing.
func (t *term) pace(decided []outcome, now time.Time) {
	soft := law.SenseOf(t.settings.Law).Soft
	nodes, all := map[string]time.Time{}, !urgent(t.settings.Law) || soft < tellsFrom
	for _, d := range decided {
		for i := range d.Reasons {
			if r := &d.Reasons[i]; r.Phase != plan.Open || r.Cause == plan.Confirming {
				nodes[r.Bottleneck.Node], all = now, all || r.Bottleneck.Whole
			}
		}
	}
	before, same := t.busy, func(time.Time, time.Time) bool { return true }
	if t.paced && all == before.all && maps.EqualFunc(nodes, before.nodes, same) {
		return
	}
	t.paced, t.busy = true, busy{nodes: nodes, all: all, since: now, asked: before.asked || !all}
	if all {
		if before.all {
			t.busy.since = before.since
		}
		t.loop.Measurements.Pace(0, nil, soft)
		return
	}
	keep(nodes, before.nodes)
	t.busy.agents = t.tellers(now)
	keep(t.busy.agents, before.agents)
	tell := make(map[types.UID]bool, len(t.busy.agents))
	for agent := range t.busy.agents {
		tell[agent] = true
	}
	t.loop.Measurements.Pace(calmReports, tell, soft)
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
	return t.paced && !t.busy.all && len(t.busy.nodes) == 0 && !stirred &&
		t.settings == t.loop.settings.Load() && t.snapshot == t.loop.Inventory.Snapshot() &&
		now.Sub(t.last) < calmReports-Period/2
}

// busy are the bottlenecks that are being decided about, and who tells of them, and since
// when.
type busy struct {
	nodes  map[string]time.Time
	agents map[types.UID]time.Time
	all    bool      // agents tell
	since  time.Time // they do
	asked  bool      // agents were asked to report less often
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
	if !b.asked || tells && now.Sub(since) >= catchUp {
		return 0
	}
	return calmReports
}

// tellers are the agents on the nodes of busy bottlenecks, and those who measure the apps
// there, from now on.
func (t *term) tellers(now time.Time) map[types.UID]time.Time {
	tell := map[types.UID]time.Time{}
	nodes := t.busy.nodes
	if len(nodes) == 0 {
		return tell
	}
	for _, a := range t.snapshot.Agents {
		if _, busy := nodes[a.Node]; busy {
			tell[a.UID] = now
		}
	}
	for i, app := range t.snapshot.Apps {
		if _, busy := nodes[app.Node]; !busy {
			continue
		}
		for _, s := range t.paths[i].sessions {
			tell[s.agent.UID] = now
		}
	}
	return tell
}
