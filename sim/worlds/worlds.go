// Package worlds are the scenarios that the control laws are judged by: closed
// loops with queues, and given traces.
package worlds

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/workload"
)

// The common setting: an uplink of 200 Mbit/s with 1 MB of queue, which is
// 40 ms, and senders whose limits are far above it.
const (
	uplink    = 200 * bitrate.Mbit
	deepQueue = 1_000_000
	unlimited = bitrate.Gbit
	mbit      = bitrate.Mbit
)

// All are the closed-loop scenarios: the six of the original project first.
func All() []sim.Scenario {
	all := []sim.Scenario{
		normalOperation(), jitterSpike(), sustainedLoad(), oscillation(), degradation(), recovery(),
		overload("tcp-overload", "two pods with four greedy TCP flows fill the uplink", sim.TCP),
		overload("udp-overload", "two pods send half as much again as fits through", sim.UDP),
		slowPatches(), manyPods(), severalApps(), capacityDrop(), capacityDropUDP(), comeback(), pauses(), guests(), oneLeaves(), bursts(),
		cpuNoise(), echo(cpuNoise()), incast(), echo(incast()), farUplink(), echo(farUplink()), countBefore(), flappingProbe(), lossyProbe(), busyHosts(), moodyHosts(), restart(), lateStart(), lowLimits(), onOff(), promQLOnly(),
		watched(onOff()), watched(cpuNoise()), watched(echo(incast())), watched(echo(farUplink())), watched(busyHosts()), watched(moodyHosts()),
		policer(sim.UDP), policer(sim.TCP), aqm(sim.UDP), aqm(sim.TCP), wanderingCapacity(), crossTraffic(), lyingVantage(), burstyPods(), ownTraffic(), idleFloors(), floorsTogether(),
		nearNoise(), belowIdle(), secondHop(), tenGigabit(), edge(), ecn(), fairQueue(), longerRoute(), reordering(), stall(), diurnal(), together(),
	}
	for i := range all {
		all[i].Bar = bars[all[i].Name]
	}
	return all
}

// Some are a few of all kinds, for a first look.
func Some() []sim.Scenario {
	var some []sim.Scenario
	for _, s := range All() {
		switch s.Name {
		case "tcp-overload", "udp-overload", "bursts", "one-leaves", "incast-echo", "cpu-noise",
			"capacity-drop", "policer-udp", "wandering-capacity", "cross-traffic", "lying-vantage", "own-traffic", "near-noise":
			some = append(some, s)
		}
	}
	return some
}

// Named finds a scenario by name.
func Named(name string) (sim.Scenario, error) {
	for _, s := range All() {
		if s.Name == name {
			return s, nil
		}
	}
	return sim.Scenario{}, fmt.Errorf("no scenario is named %q: see detnet simulate --list", name)
}

func robot(from ...string) sim.AppSpec {
	return sim.AppSpec{Name: "robot-control", Node: "n1", Rank: 100, Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond}, From: from}
}

func scanner(from ...string) sim.AppSpec {
	return sim.AppSpec{Name: "safety-scanner", Node: "n1", Rank: 90, Protocol: workload.TCP, SLO: workload.SLO{Jitter: 2 * time.Millisecond}, From: from}
}

func pod(name string, kind sim.SenderKind) sim.SenderSpec {
	return sim.SenderSpec{Name: name, Node: "n1", To: "n2", Kind: kind, Flows: 2, Initial: unlimited}
}

// base is one loaded node and one that looks at it.
func base(name, about string, kind sim.SenderKind) sim.Scenario {
	return sim.Scenario{
		Name: name, About: about, Length: 120 * time.Second, Onset: 10 * time.Second, End: 110 * time.Second,
		Nodes:   []sim.NodeSpec{{Name: "n1", Up: uplink, Queue: deepQueue}, {Name: "n2"}, {Name: "n3"}},
		Apps:    []sim.AppSpec{robot("n2", "n3")},
		Senders: []sim.SenderSpec{pod("telemetry-upload", kind), pod("erp-dashboard", kind)},
	}
}

var both = []string{"telemetry-upload", "erp-dashboard"}

func offer(at time.Duration, rate bitrate.Rate, senders ...string) sim.Event {
	return sim.Event{At: at, Senders: senders, Offered: rate}
}

// frees marks an event after which capacity is to be usable again.
func frees(e sim.Event) sim.Event {
	e.Frees = true
	return e
}

func capacityIs(at time.Duration, rate bitrate.Rate) sim.Event {
	return sim.Event{At: at, Node: "n1", Capacity: rate}
}

func normalOperation() sim.Scenario {
	s := base("normal-operation", "40 % of the uplink used: nothing to do", sim.UDP)
	s.Events = []sim.Event{offer(s.Onset, 40*mbit, both...), offer(s.End, 0, both...)}
	return s
}

func jitterSpike() sim.Scenario {
	s := base("jitter-spike", "a burst of 30 s fills a queue of 3 ms", sim.UDP)
	s.Nodes[0].Queue = 75_000
	s.Onset, s.End = 20*time.Second, 50*time.Second
	s.Events = []sim.Event{offer(0, 40*mbit, both...), offer(s.Onset, 150*mbit, both...), offer(s.End, 40*mbit, both...)}
	return s
}

func sustainedLoad() sim.Scenario {
	s := base("sustained-load", "load ramps up to half as much again as fits, stays, and ramps down", sim.UDP)
	for i := range 10 {
		step := bitrate.Rate(i) * 10 * mbit
		s.Events = append(s.Events, offer(time.Duration(10+3*i)*time.Second, 60*mbit+step, both...))
	}
	for i := range 10 {
		step := bitrate.Rate(i) * 10 * mbit
		s.Events = append(s.Events, offer(time.Duration(80+3*i)*time.Second, 150*mbit-step, both...))
	}
	s.Onset, s.End = 22*time.Second, 95*time.Second
	return s
}

func oscillation() sim.Scenario {
	s := base("oscillation", "one sender swings between nothing and the whole uplink every 5 s", sim.UDP)
	s.Events = []sim.Event{offer(0, 60*mbit, both[1])}
	for at, on := s.Onset, true; at < s.End; at, on = at+5*time.Second, !on {
		rate := bitrate.Rate(0)
		if on {
			rate = uplink
		}
		s.Events = append(s.Events, offer(at, rate, both[0]))
	}
	s.Events = append(s.Events, offer(s.End, 0, both[0]))
	return s
}

func degradation() sim.Scenario {
	s := base("degradation", "the uplink loses capacity in steps: 200, 170, 140, 110 Mbit/s", sim.TCP)
	s.Length, s.End = 310*time.Second, 305*time.Second
	s.Events = []sim.Event{
		offer(s.Onset, uplink, both...),
		capacityIs(80*time.Second, 170*mbit), capacityIs(150*time.Second, 140*mbit), capacityIs(220*time.Second, 110*mbit),
	}
	return s
}

func recovery() sim.Scenario {
	s := base("recovery", "traffic that detnet does not control holds half of the uplink, then leaves", sim.UDP)
	s.Length, s.End = 200*time.Second, 190*time.Second
	s.Nodes[0].Queue = 87_500
	s.Senders = append(s.Senders, sim.SenderSpec{Name: "backup", Node: "n1", To: "n2", Kind: sim.UDP, Uncontrolled: true})
	s.Events = []sim.Event{
		offer(s.Onset, 100*mbit, both...), offer(s.Onset, 100*mbit, "backup"),
		frees(offer(90*time.Second, 0, "backup")), offer(s.End, 0, both...),
	}
	return s
}
