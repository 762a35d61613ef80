package worlds

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/workload"
)

// drawn is a random source of a world's own: what happens in it is the same in every
// run.
func drawn(world uint64) *rand.Rand { return rand.New(rand.NewPCG(world, 0x3017d)) }

// policer has a link that queues nothing: what is too much is lost at once.
func policer(kind sim.SenderKind) sim.Scenario {
	s := overload("policer-"+string(kind), "as "+string(kind)+"-overload, behind a policer without a queue: probes are lost, never late", kind)
	s.Nodes[0].Discipline, s.Nodes[0].Queue = sim.Policer, 50_000
	return s
}

// aqm holds the queue below the target however much too much is sent.
func aqm(kind sim.SenderKind) sim.Scenario {
	s := overload("aqm-"+string(kind), "as "+string(kind)+"-overload, where an AQM holds the queue at 0.7 to 0.9 ms of a target of 1 ms", kind)
	s.Nodes[0].Discipline, s.Nodes[0].Hold = sim.AQM, [2]time.Duration{700 * time.Microsecond, 900 * time.Microsecond}
	return s
}

func ecn() sim.Scenario {
	s := overload("ecn", "as tcp-overload, where the queue marks packets from 0.1 ms on and drops none", sim.TCP)
	s.Nodes[0].Discipline, s.Nodes[0].Hold = sim.ECN, [2]time.Duration{100 * time.Microsecond, time.Millisecond}
	return s
}

func fairQueue() sim.Scenario {
	s := overload("fq", "as udp-overload, where small packets pass the queue: nobody is late", sim.UDP)
	s.Nodes[0].Discipline = sim.FairQueue
	return s
}

func wanderingCapacity() sim.Scenario {
	s := base("wandering-capacity", "the uplink wanders by 30 % up and down, each 2 to 4 s: LTE, or a satellite", sim.TCP)
	s.Events = []sim.Event{offer(s.Onset, uplink, both...)}
	r := drawn(1)
	for at := s.Onset; at < s.End; at += between(r, 2*time.Second, 4*time.Second) {
		s.Events = append(s.Events, capacityIs(at, uplink*7/10+bitrate.Rate(r.Float64()*0.6*float64(uplink))))
	}
	return s
}

func crossTraffic() sim.Scenario {
	s := base("cross-traffic", "traffic that detnet does not control takes 0 to 120 Mbit/s of the uplink, another rate each 5 to 9 s", sim.UDP)
	s.Senders = append(s.Senders, sim.SenderSpec{Name: "backup", Node: "n1", To: "n2", Kind: sim.UDP, Uncontrolled: true})
	s.Events = []sim.Event{offer(s.Onset, 110*mbit, both...)}
	r := drawn(2)
	for at := s.Onset; at < s.End; at += between(r, 5*time.Second, 9*time.Second) {
		s.Events = append(s.Events, offer(at, bitrate.Rate(r.Float64()*120)*mbit, "backup"))
	}
	s.Events = append(s.Events, offer(s.End, 0, both...))
	return s
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Float64()*float64(most-least))
}

func lyingVantage() sim.Scenario {
	s := base("lying-vantage", "one of three vantage points reports 5 ms too much for 3 s of every 10: its host or clock is mad", sim.UDP)
	s.Nodes = append(s.Nodes, sim.NodeSpec{Name: "n4"})
	s.Apps = []sim.AppSpec{robot("n2", "n3", "n4")}
	s.Events = []sim.Event{offer(s.Onset, 120*mbit, both...)}
	for at := s.Onset + 5*time.Second; at < s.End; at += 10 * time.Second {
		s.Events = append(s.Events,
			sim.Event{At: at, Vantage: "n4", Lie: 5 * time.Millisecond, LieSet: true}, sim.Event{At: at + 3*time.Second, Vantage: "n4", LieSet: true})
	}
	return s
}

func burstyPods() sim.Scenario {
	s := base("bursty-pods", "thirty pods that send bursts of all sizes at 100 Mbit/s (Poisson arrivals, Pareto sizes): 470 of 500 Mbit/s", sim.UDP)
	s.Nodes[0].Up, s.Nodes[0].Queue = 500*mbit, 2_500_000
	s.Senders = nil
	for i := range 30 {
		p := pod(fmt.Sprintf("pod-%02d", i), sim.UDP)
		p.Transfers = sim.Transfers{Every: 500 * time.Millisecond, Size: 1_000_000}
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, 100*mbit, p.Name))
	}
	return s
}

func ownTraffic() sim.Scenario {
	s := overload("own-traffic", "as udp-overload, while the critical app itself sends 50 of the 200 Mbit/s", sim.UDP)
	s.Senders = append(s.Senders, sim.SenderSpec{Name: "robot-camera", Node: "n1", To: "n2", Kind: sim.UDP, Uncontrolled: true, Critical: true})
	s.Events = append(s.Events, offer(s.Onset, 50*mbit, "robot-camera"))
	return s
}

func idleFloors() sim.Scenario {
	s := overload("idle-floors", "as udp-overload, with 25 pods beside them that send nothing and have a floor of 10 Mbit/s each", sim.UDP)
	for i := range 25 {
		p := pod(fmt.Sprintf("idle-%02d", i), sim.UDP)
		p.Initial = 10 * mbit
		s.Senders = append(s.Senders, p)
	}
	return s
}

func floorsTogether() sim.Scenario {
	s := base("floors-together", "four pods with a floor of 100 Mbit/s each, twice what fits through", sim.UDP)
	s.Senders = nil
	for i := range 4 {
		p := pod(fmt.Sprintf("pod-%d", i), sim.UDP)
		p.Min = 100 * mbit
		s.Senders = append(s.Senders, p)
		s.Events = append(s.Events, offer(s.Onset, 100*mbit, p.Name))
	}
	return s
}

// nearNoise has packets of 1500 bytes: those of 3000 take 0.12 ms each, and at any limit
// worth the name one of them in the way makes more late than the hosts do.
func nearNoise() sim.Scenario {
	s := overload("near-noise", "as udp-overload, with a target of 0.2 ms, which the hosts alone miss now and then", sim.UDP)
	s.Apps[0].SLO.Jitter = 200 * time.Microsecond
	s.Segment = 1500
	return s
}

// belowIdle cannot be kept by anybody.
func belowIdle() sim.Scenario {
	s := base("below-idle", "a target of 0.2 ms on hosts that are later than that without any load", sim.UDP)
	s.Apps[0].SLO.Jitter = 200 * time.Microsecond
	s.Noise = sim.Noise{Body: 250 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}
	s.Elsewhere = true
	s.Onset = 0
	s.Events = []sim.Event{offer(0, 95*mbit, both...)}
	return s
}

func secondHop() sim.Scenario {
	s := base("second-hop", "another hop on the way falls to half of the uplink at 40 s, and is back at 100 s", sim.TCP)
	s.Length, s.End = 200*time.Second, 190*time.Second
	s.Nodes[1].Queue = deepQueue
	back := sim.Event{At: 100 * time.Second, Node: "n2", Down: unlimited, Frees: true}
	s.Events = []sim.Event{offer(s.Onset, uplink, both...), {At: 40 * time.Second, Node: "n2", Down: 100 * mbit}, back}
	return s
}

func tenGigabit() sim.Scenario {
	s := base("ten-gigabit", "an uplink of 10 Gbit/s with 1 ms of queue, 0.1 ms away", sim.TCP)
	s.Length, s.End = 50*time.Second, 50*time.Second
	s.Segment, s.Propagation = 30_000, 50*time.Microsecond
	s.Nodes[0].Up, s.Nodes[0].Queue = 10_000*mbit, 1_250_000
	for i := range s.Senders {
		s.Senders[i].Initial, s.Senders[i].Max, s.Senders[i].Flows = 10_000*mbit, 10_000*mbit, 4
	}
	s.Events = []sim.Event{offer(s.Onset, 10_000*mbit, both...)}
	return s
}

func edge() sim.Scenario {
	s := base("edge", "an uplink of 20 Mbit/s with 200 ms of queue", sim.TCP)
	s.Nodes[0].Up, s.Nodes[0].Queue = 20*mbit, 500_000
	s.Apps[0].SLO = workload.SLO{Jitter: 10 * time.Millisecond}
	for i := range s.Senders {
		s.Senders[i].Min = mbit
	}
	s.Events = []sim.Event{offer(s.Onset, uplink, both...), offer(s.End, 0, both...)}
	return s
}

func longerRoute() sim.Scenario {
	s := overload("longer-route", "as tcp-overload; at 40 s the way to the app becomes 0.3 ms longer and that back 0.8 ms", sim.TCP)
	s.Events = append(s.Events, sim.Event{At: 40 * time.Second, Route: [2]time.Duration{300 * time.Microsecond, 800 * time.Microsecond}, RouteSet: true})
	return s
}

func reordering() sim.Scenario {
	s := overload("reordering", "as udp-overload, while 5 % of the probes are overtaken by later ones", sim.UDP)
	s.Reorder = 0.05
	return s
}

func stall() sim.Scenario {
	s := overload("stall", "as udp-overload; the controller stands still for 3 s from the onset on", sim.UDP)
	s.Events = append([]sim.Event{{At: s.Onset, Stall: 3 * time.Second}}, s.Events...)
	return s
}

func diurnal() sim.Scenario {
	s := base("diurnal", "load that swells from a fifth of the uplink to a third more than it and back, twice", sim.UDP)
	s.Length, s.Onset, s.End = 250*time.Second, 10*time.Second, 240*time.Second
	for at := time.Duration(0); at < s.Length; at += 2 * time.Second {
		level := 77 - 57*math.Cos(2*math.Pi*at.Seconds()/120)
		s.Events = append(s.Events, offer(at, bitrate.Rate(level*float64(mbit)), both...))
	}
	return s
}
