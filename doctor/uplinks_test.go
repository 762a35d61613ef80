package doctor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/status"
)

// What the agents say of their nodes' uplinks becomes what it means for targets,
// and a queue that paces nothing is a problem.
func TestUplinkQueues(t *testing.T) {
	on := cilium{"enable-bandwidth-manager": "true"}
	uplink := func(node, queue string, speed bitrate.Rate) status.Agent {
		return status.Agent{Node: node, Uplinks: []status.Uplink{{Interface: "eth0", Queue: queue, SpeedBps: speed}}}
	}
	var many []status.Agent
	for i := range 8 {
		many = append(many, uplink(fmt.Sprintf("n%d", i), "fq_codel", 0))
	}
	for name, tt := range map[string]struct {
		config  cilium
		agents  []status.Agent
		problem string
		notes   []string // parts of them, in order
		none    bool     // no finding
	}{
		"without Cilium":      {nil, []status.Agent{uplink("n1", "pfifo_fast", 0)}, "", nil, true},
		"nothing said":        {on, []status.Agent{{Node: "n1"}}, "", nil, true},
		"a gigabit":           {on, []status.Agent{uplink("n1", "mq/fq", bitrate.Gbit), uplink("n2", "fq", bitrate.Gbit)}, "", []string{"may wait 520µs for others; targets below that cannot be kept by priority alone: n1 (eth0), n2 (eth0)"}, false},
		"two speeds":          {on, []status.Agent{uplink("n1", "fq", 200*bitrate.Mbit), uplink("n2", "fq", 0)}, "", []string{"2.62ms", "no speed"}, false},
		"another queue":       {on, []status.Agent{uplink("n1", "mq/fq", bitrate.Gbit), uplink("n2", "mq/fq_codel", bitrate.Gbit)}, "eth0 on n2 has mq/fq_codel", nil, false},
		"no queue":            {on, []status.Agent{uplink("n1", "", 0)}, "no queue that is known", nil, false},
		"many without pacing": {on, many, "and 3 more", nil, false},
	} {
		found := uplinkQueues(&status.Status{Agents: tt.agents}, tt.config)
		if (len(found) == 0) != tt.none {
			t.Errorf("%s: %+v", name, found)
		}
		if tt.none || len(found) == 0 {
			continue
		}
		f := found[0]
		if (f.Problem == "") != (tt.problem == "") || !strings.Contains(f.Problem, tt.problem) || (f.Problem == "") != (f.Advice == "") {
			t.Errorf("%s: %+v, want a problem with %q", name, f, tt.problem)
		}
		if len(f.Notes) != len(tt.notes) {
			t.Errorf("%s: notes %q, want %q", name, f.Notes, tt.notes)
			continue
		}
		for _, part := range tt.notes {
			if !strings.Contains(strings.Join(f.Notes, "\n"), part) {
				t.Errorf("%s: notes %q lack %q", name, f.Notes, part)
			}
		}
	}
}

// A pod that sends more than Cilium lets through, and goes on, is named.
func TestWhoDoesNotSlowDownIsNamed(t *testing.T) {
	s := &status.Status{
		Agents:  []status.Agent{{Node: "n1", Uplinks: []status.Uplink{{Interface: "eth0", Queue: "fq", SpeedBps: bitrate.Gbit}}}},
		Senders: []status.Sender{{Pod: "office/backup", OverLimit: "it sends more than its limit of 97M"}, {Pod: "office/sync"}},
	}
	found := uplinkQueues(s, cilium{"enable-bandwidth-manager": "true"})
	if len(found) != 1 || found[0].Problem != "" || len(found[0].Notes) != 2 || !strings.Contains(found[0].Notes[1], "office/backup sends may get through: it sends more than its limit") {
		t.Errorf("%+v", found)
	}
}
