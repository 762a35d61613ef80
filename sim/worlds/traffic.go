package worlds

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/sim"
)

func overload(name, about string, kind sim.SenderKind) sim.Scenario {
	s := base(name, about, kind)
	s.Events = []sim.Event{offer(s.Onset, 150*mbit, both...), frees(offer(s.End, 0, both...))}
	return s
}

func manyPods() sim.Scenario {
	s := base("many-pods", "twelve pods of two classes and weights 1, 2 and 4, elastic and not, one of them modest", sim.TCP)
	s.Nodes[0].Up, s.Nodes[0].Queue = 2*uplink, 2*deepQueue
	s.Senders = nil
	for i := range 12 {
		p := pod(fmt.Sprintf("pod-%02d", i), sim.TCP)
		p.Flows, p.Weight = 1, 1<<(i%3)
		rate := 80 * mbit
		if i%2 == 1 {
			p.Kind = sim.UDP
		}
		switch i {
		case 0:
			p.Kind, p.Rank, rate = sim.UDP, 10, 15*mbit // a better class, served first
		case 1:
			rate = 4 * mbit
		}
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, rate, p.Name))
	}
	return s
}

func severalApps() sim.Scenario {
	s := overload("several-apps", "as tcp-overload, with a UDP app (1 ms) and a TCP app (2 ms)", sim.TCP)
	s.Apps = append(s.Apps, scanner("n2", "n3"))
	return s
}

func capacityDrop() sim.Scenario {
	s := base("capacity-drop", "the uplink falls to half at 60 s and comes back at 150 s", sim.TCP)
	s.Length, s.End = 240*time.Second, 230*time.Second
	s.Events = []sim.Event{
		offer(s.Onset, uplink, both...), capacityIs(60*time.Second, 100*mbit), frees(capacityIs(150*time.Second, uplink)),
	}
	return s
}

// onTestbed gives a scenario the delays and noise that the real queues have.
func onTestbed(s sim.Scenario) sim.Scenario {
	s.Propagation, s.CountBefore, s.Headroom = 50*time.Microsecond, true, 1.022
	s.PatchDelay = [2]time.Duration{60 * time.Millisecond, 250 * time.Millisecond}
	s.Noise = sim.Noise{Body: 60 * time.Microsecond, Rare: 0.01, Tail: 600 * time.Microsecond}
	s.Apps = append(s.Apps, scanner("n2", "n3"))
	return s
}

func capacityDropUDP() sim.Scenario {
	s := onTestbed(base("capacity-drop-udp", "as capacity-drop, with senders that do not yield", sim.UDP))
	s.Length, s.End = 240*time.Second, 230*time.Second
	s.Events = []sim.Event{
		offer(s.Onset, 150*mbit, both...), capacityIs(60*time.Second, 100*mbit), frees(capacityIs(150*time.Second, uplink)),
	}
	return s
}

// comeback is drop of test/bench/control: the uplink is a token bucket, as the sandbox's, agents
// enforce limits that are told them on streams, and answer beside the apps.
func comeback() sim.Scenario {
	s := base("comeback", "the uplink falls to half at 35 s and comes back at 60 s; nothing is in the way on it before it is full, and agents are told limits on streams", sim.UDP)
	s.Length, s.End = 87*time.Second, 85*time.Second
	s.Propagation, s.Headroom, s.OwnQueue, s.NodeSessions = 50*time.Microsecond, 1.02, true, true
	s.PatchDelay = [2]time.Duration{5 * time.Millisecond, 25 * time.Millisecond}
	s.Noise = sim.Noise{Body: 60 * time.Microsecond, Rare: 0.01, Tail: 600 * time.Microsecond}
	s.Nodes[0].Burst = 64 << 10
	s.Apps = append(s.Apps, scanner("n2", "n3"))
	s.Events = []sim.Event{
		offer(s.Onset, 150*mbit, both...), capacityIs(35*time.Second, 100*mbit), frees(capacityIs(60*time.Second, uplink)), offer(s.End, 0, both...),
	}
	return s
}

// pauses is comeback without the way back, where one of the senders pauses: a try for what was
// lost meets no queue then, wherever that would begin.
func pauses() sim.Scenario {
	s := comeback()
	s.Name, s.About = "pauses", "the uplink falls to half at 35 s and stays so; one of two senders sends for 3 s of every 5, and agents are told limits on streams"
	s.Length, s.End = 120*time.Second, 118*time.Second
	s.Events = []sim.Event{offer(s.Onset, 150*mbit, both...), capacityIs(35*time.Second, 100*mbit)}
	for at := 40 * time.Second; at < s.End; at += 5 * time.Second {
		s.Events = append(s.Events, offer(at, 0, both[1]), offer(at+2*time.Second, 150*mbit, both[1]))
	}
	s.Events = append(s.Events, offer(s.End, 0, both...))
	return s
}

// guests is comeback without the way back, where others use a little of the uplink now and then.
func guests() sim.Scenario {
	s := comeback()
	s.Name, s.About = "guests", "the uplink falls to half at 35 s and stays so; others send 5 Mbit/s for 1.5 s of every 4, and agents are told limits on streams"
	s.Length, s.End = 120*time.Second, 118*time.Second
	guest := pod("guest", sim.UDP)
	guest.Uncontrolled = true
	s.Senders = append(s.Senders, guest)
	s.Events = []sim.Event{offer(s.Onset, 150*mbit, both...), capacityIs(35*time.Second, 100*mbit)}
	for at := 40 * time.Second; at < s.End; at += 4 * time.Second {
		s.Events = append(s.Events, offer(at, 5*mbit, guest.Name), offer(at+1500*time.Millisecond, 0, guest.Name))
	}
	s.Events = append(s.Events, offer(s.End, 0, both...))
	return s
}

func oneLeaves() sim.Scenario {
	s := base("one-leaves", "one of two senders stops at 50 s: the other is to have its share", sim.TCP)
	s.Events = []sim.Event{offer(s.Onset, uplink, both...), frees(offer(50*time.Second, 0, both[1])), offer(80*time.Second, uplink, both[1])}
	return s
}

func bursts() sim.Scenario {
	s := base("bursts", "a sender at 250 Mbit/s for 0.3 s of every second beside a steady one", sim.UDP)
	s.Events = []sim.Event{offer(0, 60*mbit, both[1])}
	for at := s.Onset; at < s.End; at += time.Second {
		s.Events = append(s.Events, offer(at, 250*mbit, both[0]), offer(at+300*time.Millisecond, 0, both[0]))
	}
	return s
}

func incast() sim.Scenario {
	s := base("incast", "three nodes send to the app's node: its downlink is the bottleneck", sim.UDP)
	s.Nodes = []sim.NodeSpec{
		{Name: "n1", Up: uplink, Queue: deepQueue, Down: uplink},
		{Name: "n2", Up: unlimited, Queue: deepQueue}, {Name: "n3", Up: unlimited, Queue: deepQueue},
	}
	s.Apps = []sim.AppSpec{robot("n2", "n3")}
	s.Senders = nil
	for i, node := range []string{"n2", "n3", "n3"} {
		p := pod(fmt.Sprintf("pod-%d", i), sim.UDP)
		p.Node, p.To = node, "n1"
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, 100*mbit, p.Name))
	}
	return s
}

func farUplink() sim.Scenario {
	s := base("far-uplink", "the uplink of a node that looks at the app is congested, not the app's own", sim.TCP)
	s.Nodes = []sim.NodeSpec{
		{Name: "n1", Up: uplink, Queue: deepQueue},
		{Name: "n2", Up: uplink, Queue: deepQueue}, {Name: "n3", Up: uplink, Queue: deepQueue},
	}
	s.Apps = []sim.AppSpec{robot("n2", "n3")}
	for i := range s.Senders {
		s.Senders[i].Node, s.Senders[i].To = "n2", "n3"
	}
	quiet := pod("innocent", sim.UDP)
	s.Senders = append(s.Senders, quiet)
	s.Events = []sim.Event{offer(0, 60*mbit, "innocent"), offer(s.Onset, uplink, both...)}
	return s
}

func onOff() sim.Scenario {
	s := onTestbed(base("on-off", "the demo's bursty load: a steady sender of 147 Mbit/s, and four flows that send for 3 s of every 5", sim.TCP))
	s.Senders[0].Flows, s.Senders[1].Kind = 4, sim.UDP
	s.Events = []sim.Event{offer(s.Onset, 147*mbit, both[1])}
	for at := s.Onset; at < s.End; at += 5 * time.Second {
		s.Events = append(s.Events, offer(at, uplink, both[0]), offer(at+3*time.Second, 0, both[0]))
	}
	s.Events = append(s.Events, offer(s.End, 0, both[1]))
	return s
}
