package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// uplinks are what is said of the nodes: what a leader found, what an administrator
// states, and what the interfaces say. It is looked up now and then: nothing waits for it.
type uplinks struct {
	all    []plan.Told // not changed once it is there
	looked time.Time
}

// tellEvery is the time between two looks.
const tellEvery = 5 * time.Second

func (t *uplinks) of(s *inventory.Snapshot, state func(inventory.Agent) agents.State, now time.Time) []plan.Told {
	if !t.looked.IsZero() && now.Sub(t.looked) < tellEvery {
		return t.all
	}
	t.looked = now
	said := map[string]plan.Told{}
	for node, marks := range s.Marks {
		said[node] = plan.Told{Node: node, Found: marks.Found.Fresh(now), Rate: marks.Rate}
	}
	for _, a := range s.Agents {
		if a.Role != api.Role_ROLE_NODE {
			continue
		}
		if speed := speedOf(state(a).Uplinks); speed != 0 {
			x := said[a.Node]
			x.Node, x.Rate = a.Node, cmp.Or(min(x.Rate, speed), speed)
			said[a.Node] = x
		}
	}
	all := make([]plan.Told, 0, len(said))
	for _, x := range said {
		if x.Found != 0 || x.Rate != 0 {
			all = append(all, x)
		}
	}
	plan.Sort(all)
	if !slices.Equal(all, t.all) { // what is the same keeps its address
		t.all = all
	}
	return t.all
}

// speedOf is what a node's uplinks carry together; 0 where one does not say.
func speedOf(uplinks []status.Uplink) bitrate.Rate {
	var sum bitrate.Rate
	for _, u := range uplinks {
		if u.SpeedBps == 0 {
			return 0
		}
		sum += u.SpeedBps
	}
	return min(sum, bitrate.Max)
}
