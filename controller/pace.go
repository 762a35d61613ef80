package controller

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/plan"
)

// calmReports is the time between reports of agents for which nothing is decided.
// Half of what makes samples stale, it leaves a session of 50 packets a second with
// twice the samples that a judgement takes, also just before the next report.
const calmReports = 300 * time.Millisecond

// pace has those agents report each Period that tell of what is being decided about:
// of a bottleneck whose budget is searched for, and of the apps behind it. The others
// report less often while they see nothing.
func (t *term) pace(decided []outcome) {
	nodes, all := map[string]bool{}, !urgent(t.settings.Law)
	for _, d := range decided {
		for i := range d.Reasons {
			if r := &d.Reasons[i]; r.Phase != plan.Open {
				nodes[r.Bottleneck.Node], all = true, all || r.Bottleneck.Whole
			}
		}
	}
	if t.paced && all == t.busy.all && maps.Equal(nodes, t.busy.nodes) {
		return
	}
	t.paced, t.busy = true, busy{nodes, all}
	if all {
		t.loop.Measurements.Pace(0, nil)
		return
	}
	t.loop.Measurements.Pace(calmReports, t.tellers(nodes))
}

// rests reports whether there is nothing to decide before the next calm reports are
// in: nothing is being decided about, nobody has told anything, and all is as it was.
func (t *term) rests(now time.Time) bool {
	stirred := t.loop.Measurements.Stirred()
	return t.paced && !t.busy.all && len(t.busy.nodes) == 0 && !stirred &&
		t.settings == t.loop.settings.Load() && t.snapshot == t.loop.Inventory.Snapshot() &&
		now.Sub(t.last) < calmReports-Period/2
}

// busy are the bottlenecks that are being decided about.
type busy struct {
	nodes map[string]bool
	all   bool
}

// tellers are the agents on nodes, and those who measure the apps there.
func (t *term) tellers(nodes map[string]bool) map[types.UID]bool {
	tell := map[types.UID]bool{}
	if len(nodes) == 0 {
		return tell
	}
	for _, a := range t.snapshot.Agents {
		if nodes[a.Node] {
			tell[a.UID] = true
		}
	}
	for i, app := range t.snapshot.Apps {
		if !nodes[app.Node] {
			continue
		}
		for _, s := range t.paths[i].sessions {
			tell[s.agent.UID] = true
		}
	}
	return tell
}
