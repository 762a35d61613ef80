package worlds

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/workload"
)

// together is a small cluster whose uplinks are all congested at the same time: what is late is so
// both on the way there, by the uplink of who looks, and on the way back, by its own.
func together() sim.Scenario {
	const nodes, pods = 5, 4
	s := sim.Scenario{
		Name: "all-at-once", About: "five nodes, each with an app that two others look at: twice what fits is sent from all of them at once",
		Length: 45 * time.Second, Onset: 5 * time.Second, End: 40 * time.Second,
		Echo: true, NodeSessions: true, PatchDelay: [2]time.Duration{10 * time.Millisecond, 40 * time.Millisecond}, Segment: 4500,
	}
	var all []string
	name := func(i int) string { return fmt.Sprintf("n%d", i%nodes+1) }
	for i := range nodes {
		s.Nodes = append(s.Nodes, sim.NodeSpec{Name: name(i), Up: uplink, Queue: deepQueue})
		s.Apps = append(s.Apps, sim.AppSpec{
			Name: fmt.Sprintf("robot-%d", i+1), Node: name(i), Rank: 100, Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond},
			From: []string{name(i + 1), name(i + 2)},
		})
		for k := range pods {
			pod := pod(fmt.Sprintf("bulk-%d-%d", i+1, k+1), sim.UDP)
			pod.Node, pod.To = name(i), name(i+2)
			s.Senders, all = append(s.Senders, pod), append(all, pod.Name)
		}
	}
	s.Events = []sim.Event{offer(0, 5*mbit, all...), offer(s.Onset, 2*uplink/bitrate.Rate(pods), all...), offer(s.End, 0, all...)}
	return s
}
