package sim

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
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

// Worlds are the closed-loop scenarios: the six of the original project first.
func Worlds() []Scenario {
	return []Scenario{
		normalOperation(), jitterSpike(), sustainedLoad(), oscillation(), degradation(), recovery(),
		overload("tcp-overload", "two pods with four greedy TCP flows fill the uplink", TCP),
		overload("udp-overload", "two pods send half as much again as fits through", UDP),
		slowPatches(), manyPods(), severalApps(), capacityDrop(), oneLeaves(), bursts(),
		cpuNoise(), echo(cpuNoise()), incast(), echo(incast()), farUplink(), echo(farUplink()), countBefore(), flappingProbe(), lossyProbe(), busyHosts(), moodyHosts(), restart(), lateStart(), lowLimits(),
	}
}

// World finds a scenario by name.
func World(name string) (Scenario, error) {
	for _, s := range Worlds() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("no scenario is named %q: see detnet simulate --list", name)
}

func robot(from ...string) AppSpec {
	return AppSpec{Name: "robot-control", Node: "n1", Rank: 100, Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond}, From: from}
}

func scanner(from ...string) AppSpec {
	return AppSpec{Name: "safety-scanner", Node: "n1", Rank: 90, Protocol: workload.TCP, SLO: workload.SLO{Jitter: 2 * time.Millisecond}, From: from}
}

func pod(name string, kind SenderKind) SenderSpec {
	return SenderSpec{Name: name, Node: "n1", To: "n2", Kind: kind, Flows: 2, Initial: unlimited}
}

// base is one loaded node and one that looks at it.
func base(name, about string, kind SenderKind) Scenario {
	return Scenario{
		Name: name, About: about, Length: 120 * time.Second, Onset: 10 * time.Second, End: 110 * time.Second,
		Nodes:   []NodeSpec{{Name: "n1", Up: uplink, Queue: deepQueue}, {Name: "n2"}, {Name: "n3"}},
		Apps:    []AppSpec{robot("n2", "n3")},
		Senders: []SenderSpec{pod("telemetry-upload", kind), pod("erp-dashboard", kind)},
	}
}

var both = []string{"telemetry-upload", "erp-dashboard"}

func offer(at time.Duration, rate bitrate.Rate, senders ...string) Event {
	return Event{At: at, Senders: senders, Offered: rate}
}

// frees marks an event after which capacity is to be usable again.
func frees(e Event) Event {
	e.Frees = true
	return e
}

func capacityIs(at time.Duration, rate bitrate.Rate) Event {
	return Event{At: at, Node: "n1", Capacity: rate}
}

func normalOperation() Scenario {
	s := base("normal-operation", "40 % of the uplink used: nothing to do", UDP)
	s.Events = []Event{offer(s.Onset, 40*mbit, both...), offer(s.End, 0, both...)}
	return s
}

func jitterSpike() Scenario {
	s := base("jitter-spike", "a burst of 30 s fills a queue of 3 ms", UDP)
	s.Nodes[0].Queue = 75_000
	s.Onset, s.End = 20*time.Second, 50*time.Second
	s.Events = []Event{offer(0, 40*mbit, both...), offer(s.Onset, 150*mbit, both...), offer(s.End, 40*mbit, both...)}
	return s
}

func sustainedLoad() Scenario {
	s := base("sustained-load", "load ramps up to half as much again as fits, stays, and ramps down", UDP)
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

func oscillation() Scenario {
	s := base("oscillation", "one sender swings between nothing and the whole uplink every 5 s", UDP)
	s.Events = []Event{offer(0, 60*mbit, both[1])}
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

func degradation() Scenario {
	s := base("degradation", "the uplink loses capacity in steps: 200, 170, 140, 110 Mbit/s", TCP)
	s.Length, s.End = 310*time.Second, 305*time.Second
	s.Events = []Event{
		offer(s.Onset, uplink, both...),
		capacityIs(80*time.Second, 170*mbit), capacityIs(150*time.Second, 140*mbit), capacityIs(220*time.Second, 110*mbit),
	}
	return s
}

func recovery() Scenario {
	s := base("recovery", "traffic that detnet does not control holds half of the uplink, then leaves", UDP)
	s.Length, s.End = 200*time.Second, 190*time.Second
	s.Nodes[0].Queue = 87_500
	s.Senders = append(s.Senders, SenderSpec{Name: "backup", Node: "n1", To: "n2", Kind: UDP, Uncontrolled: true})
	s.Events = []Event{
		offer(s.Onset, 100*mbit, both...), offer(s.Onset, 100*mbit, "backup"),
		frees(offer(90*time.Second, 0, "backup")), offer(s.End, 0, both...),
	}
	return s
}

func overload(name, about string, kind SenderKind) Scenario {
	s := base(name, about, kind)
	s.Events = []Event{offer(s.Onset, 150*mbit, both...), frees(offer(s.End, 0, both...))}
	return s
}

func slowPatches() Scenario {
	s := overload("slow-patches", "as udp-overload, with 0.4 to 0.7 s from patch to effect", UDP)
	s.PatchDelay = [2]time.Duration{400 * time.Millisecond, 700 * time.Millisecond}
	return s
}

func manyPods() Scenario {
	s := base("many-pods", "twelve pods of two classes and weights 1, 2 and 4, elastic and not, one of them modest", TCP)
	s.Nodes[0].Up, s.Nodes[0].Queue = 2*uplink, 2*deepQueue
	s.Senders = nil
	for i := range 12 {
		p := pod(fmt.Sprintf("pod-%02d", i), TCP)
		p.Flows, p.Weight = 1, 1<<(i%3)
		rate := 80 * mbit
		if i%2 == 1 {
			p.Kind = UDP
		}
		switch i {
		case 0:
			p.Kind, p.Rank, rate = UDP, 10, 15*mbit // a better class, served first
		case 1:
			rate = 4 * mbit
		}
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, rate, p.Name))
	}
	return s
}

func severalApps() Scenario {
	s := overload("several-apps", "as tcp-overload, with a UDP app (1 ms) and a TCP app (2 ms)", TCP)
	s.Apps = append(s.Apps, scanner("n2", "n3"))
	return s
}

func capacityDrop() Scenario {
	s := base("capacity-drop", "the uplink falls to half at 60 s and comes back at 150 s", TCP)
	s.Length, s.End = 240*time.Second, 230*time.Second
	s.Events = []Event{
		offer(s.Onset, uplink, both...), capacityIs(60*time.Second, 100*mbit), frees(capacityIs(150*time.Second, uplink)),
	}
	return s
}

func oneLeaves() Scenario {
	s := base("one-leaves", "one of two senders stops at 50 s: the other is to have its share", TCP)
	s.Events = []Event{offer(s.Onset, uplink, both...), frees(offer(50*time.Second, 0, both[1])), offer(80*time.Second, uplink, both[1])}
	return s
}

func bursts() Scenario {
	s := base("bursts", "a sender at 250 Mbit/s for 0.3 s of every second beside a steady one", UDP)
	s.Events = []Event{offer(0, 60*mbit, both[1])}
	for at := s.Onset; at < s.End; at += time.Second {
		s.Events = append(s.Events, offer(at, 250*mbit, both[0]), offer(at+300*time.Millisecond, 0, both[0]))
	}
	return s
}

func cpuNoise() Scenario {
	s := base("cpu-noise", "the app's own CPU is busy for a minute; the network is fine", UDP)
	s.Onset, s.End, s.Elsewhere = 20*time.Second, 80*time.Second, true
	s.Events = []Event{
		offer(0, 60*mbit, both...),
		{At: s.Onset, CPU: 0.7, CPUSet: true}, {At: s.End, CPUSet: true},
	}
	return s
}

func incast() Scenario {
	s := base("incast", "three nodes send to the app's node: its downlink is the bottleneck", UDP)
	s.Nodes = []NodeSpec{
		{Name: "n1", Up: uplink, Queue: deepQueue, Down: uplink},
		{Name: "n2", Up: unlimited, Queue: deepQueue}, {Name: "n3", Up: unlimited, Queue: deepQueue},
	}
	s.Apps = []AppSpec{robot("n2", "n3")}
	s.Senders = nil
	for i, node := range []string{"n2", "n3", "n3"} {
		p := pod(fmt.Sprintf("pod-%d", i), UDP)
		p.Node, p.To = node, "n1"
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, 100*mbit, p.Name))
	}
	return s
}

func farUplink() Scenario {
	s := base("far-uplink", "the uplink of a node that looks at the app is congested, not the app's own", TCP)
	s.Nodes = []NodeSpec{
		{Name: "n1", Up: uplink, Queue: deepQueue},
		{Name: "n2", Up: uplink, Queue: deepQueue}, {Name: "n3", Up: uplink, Queue: deepQueue},
	}
	s.Apps = []AppSpec{robot("n2", "n3")}
	for i := range s.Senders {
		s.Senders[i].Node, s.Senders[i].To = "n2", "n3"
	}
	quiet := pod("innocent", UDP)
	s.Senders = append(s.Senders, quiet)
	s.Events = []Event{offer(0, 60*mbit, "innocent"), offer(s.Onset, uplink, both...)}
	return s
}

// echo takes the one-way delays away: which side is late must be found out.
func echo(s Scenario) Scenario {
	s.Name, s.About, s.Echo = s.Name+"-echo", s.About+"; probes are plain echoes", true
	return s
}

func countBefore() Scenario {
	s := overload("count-before", "as udp-overload, with tx counters that sit before the limiter and never show its effect", UDP)
	s.CountBefore = true
	return s
}

func flappingProbe() Scenario {
	s := overload("flapping-probe", "as tcp-overload, while probes stop for 3 s of every 8", TCP)
	for at := 14 * time.Second; at < s.End; at += 8 * time.Second {
		s.Events = append(s.Events, Event{At: at, Probing: Off}, Event{At: at + 3*time.Second, Probing: On})
	}
	return s
}

func lossyProbe() Scenario {
	s := overload("lossy-probe", "as udp-overload, with 0.3 % of the probes lost and noisier hosts", UDP)
	s.ProbeLoss = 0.003
	s.Noise = Noise{Body: 100 * time.Microsecond, Rare: 0.01, Tail: 400 * time.Microsecond}
	return s
}

func busyHosts() Scenario {
	s := overload("busy-hosts", "as udp-overload, on hosts so busy that one probe in a hundred is late for that alone", UDP)
	s.Noise = Noise{Body: 150 * time.Microsecond, Rare: 0.05, Tail: 500 * time.Microsecond}
	return s
}

func moodyHosts() Scenario {
	s := overload("moody-hosts", "as tcp-overload, on hosts that are busy and quiet in turn every 7 s", TCP)
	busy, quiet := Noise{Body: 300 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}, Noise{Body: 50 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}
	for at := 7 * time.Second; at < s.Length; at += 14 * time.Second {
		s.Events = append(s.Events, Event{At: at, Noise: busy}, Event{At: at + 7*time.Second, Noise: quiet})
	}
	return s
}

func restart() Scenario {
	s := overload("restart", "as tcp-overload; the controller forgets everything at 50 s", TCP)
	s.Events = append(s.Events, Event{At: 50 * time.Second, Restart: true})
	return s
}

func lowLimits() Scenario {
	s := overload("low-limits", "limits begin at a quarter of what fits through", TCP)
	s.Length, s.End = 200*time.Second, 190*time.Second
	s.Events[1].At = s.End
	for i := range s.Senders {
		s.Senders[i].Initial = 25 * mbit
	}
	return s
}

func lateStart() Scenario {
	s := base("late-start", "the load is there before the controller, so no idle delay was ever seen", UDP)
	s.Onset = 5 * time.Second
	s.Events = []Event{offer(0, 150*mbit, both...), {At: s.Onset, Restart: true}, {At: 0, Probing: Off}, {At: s.Onset, Probing: On}}
	return s
}
