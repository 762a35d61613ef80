package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// The law is told what nodes carry and what their interfaces say, the lesser of two rates,
// and nothing that is too old.
func TestWhatTheLawIsTold(t *testing.T) {
	const mbit = bitrate.Mbit
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	speeds := map[string][]status.Uplink{
		"both":   {{Interface: "eth0", SpeedBps: bitrate.Gbit}},
		"silent": {{Interface: "eth0", SpeedBps: bitrate.Gbit}, {Interface: "eth1"}},
		"speed":  {{Interface: "eth0", SpeedBps: bitrate.Gbit}, {Interface: "eth1", SpeedBps: bitrate.Gbit}},
		"lies":   {{SpeedBps: bitrate.Max}, {SpeedBps: bitrate.Max}},
	}
	s := &inventory.Snapshot{Marks: map[string]inventory.Marks{
		"both":  {Rate: 200 * mbit, Found: workload.Found{Rate: 194 * mbit, At: now.Add(-time.Hour)}},
		"old":   {Found: workload.Found{Rate: 194 * mbit, At: now.Add(-workload.FoundFor - time.Hour)}},
		"ahead": {Found: workload.Found{Rate: 194 * mbit, At: now.Add(time.Hour)}},
		"mark":  {Congested: true},
	}}
	for node := range speeds {
		s.Agents = append(s.Agents, inventory.Agent{Node: node, Role: api.Role_ROLE_NODE}, inventory.Agent{Node: node, Role: api.Role_ROLE_PROBE})
	}
	state := func(a inventory.Agent) agents.State { return agents.State{Uplinks: speeds[a.Node]} }
	var said uplinks
	want := []plan.Told{
		{Node: "both", Found: 194 * mbit, Rate: 200 * mbit},
		{Node: "lies", Rate: bitrate.Max},
		{Node: "speed", Rate: 2 * bitrate.Gbit},
	}
	first := said.of(s, state, now)
	if !slices.Equal(first, want) {
		t.Errorf("%+v, want %+v", first, want)
	}
	// What is the same keeps its place in memory: nothing is recorded anew for it.
	if again := said.of(s, state, now.Add(tellEvery)); &again[0] != &first[0] {
		t.Error("the same is told as something new")
	}
	s.Marks = nil
	if soon := said.of(s, state, now.Add(tellEvery+time.Second)); !slices.Equal(soon, want) {
		t.Errorf("looked up again after a second: %+v", soon)
	}
	if later := said.of(s, state, now.Add(2*tellEvery)); later[0] != (plan.Told{Node: "both", Rate: bitrate.Gbit}) {
		t.Errorf("%+v", later)
	}
}
