package worlds

import (
	"time"

	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/workload"
)

func slowPatches() sim.Scenario {
	s := overload("slow-patches", "as udp-overload, with 0.4 to 0.7 s from patch to effect", sim.UDP)
	s.PatchDelay = [2]time.Duration{400 * time.Millisecond, 700 * time.Millisecond}
	return s
}

func cpuNoise() sim.Scenario {
	s := base("cpu-noise", "the app's own CPU is busy for a minute; the network is fine", sim.UDP)
	s.Onset, s.End, s.Elsewhere = 20*time.Second, 80*time.Second, true
	s.Events = []sim.Event{
		offer(0, 60*mbit, both...),
		{At: s.Onset, CPU: 0.7, CPUSet: true}, {At: s.End, CPUSet: true},
	}
	return s
}

// echo takes the one-way delays away: which side is late must be found out.
func echo(s sim.Scenario) sim.Scenario {
	s.Name, s.About, s.Echo = s.Name+"-echo", s.About+"; probes are plain echoes", true
	return s
}

// watched puts an agent on every node: what delays an app but not the agent
// beside it is not the network.
func watched(s sim.Scenario) sim.Scenario {
	s.Name, s.About, s.NodeSessions = s.Name+"-node-session", s.About+"; agents beside the apps answer too", true
	return s
}

func countBefore() sim.Scenario {
	s := overload("count-before", "as udp-overload, with tx counters that sit before the limiter and never show its effect", sim.UDP)
	s.CountBefore = true
	return s
}

func flappingProbe() sim.Scenario {
	s := overload("flapping-probe", "as tcp-overload, while probes stop for 3 s of every 8", sim.TCP)
	for at := 14 * time.Second; at < s.End; at += 8 * time.Second {
		s.Events = append(s.Events, sim.Event{At: at, Probing: sim.Off}, sim.Event{At: at + 3*time.Second, Probing: sim.On})
	}
	return s
}

func lossyProbe() sim.Scenario {
	s := overload("lossy-probe", "as udp-overload, with 0.3 % of the probes lost and noisier hosts", sim.UDP)
	s.ProbeLoss = 0.003
	s.Noise = sim.Noise{Body: 100 * time.Microsecond, Rare: 0.01, Tail: 400 * time.Microsecond}
	return s
}

func busyHosts() sim.Scenario {
	s := overload("busy-hosts", "as udp-overload, on hosts so busy that one probe in a hundred is late for that alone", sim.UDP)
	s.Noise = sim.Noise{Body: 150 * time.Microsecond, Rare: 0.05, Tail: 500 * time.Microsecond}
	return s
}

func moodyHosts() sim.Scenario {
	s := overload("moody-hosts", "as tcp-overload, on hosts that are busy and quiet in turn every 7 s", sim.TCP)
	busy, quiet := sim.Noise{Body: 300 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}, sim.Noise{Body: 50 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}
	for at := 7 * time.Second; at < s.Length; at += 14 * time.Second {
		s.Events = append(s.Events, sim.Event{At: at, Noise: busy}, sim.Event{At: at + 7*time.Second, Noise: quiet})
	}
	return s
}

func restart() sim.Scenario {
	s := overload("restart", "as tcp-overload; the controller forgets everything at 50 s", sim.TCP)
	s.Events = append(s.Events, sim.Event{At: 50 * time.Second, Restart: true})
	return s
}

func lowLimits() sim.Scenario {
	s := overload("low-limits", "limits begin at a quarter of what fits through", sim.TCP)
	s.Length, s.End = 200*time.Second, 190*time.Second
	s.Events[1].At = s.End
	for i := range s.Senders {
		s.Senders[i].Initial = 25 * mbit
	}
	return s
}

func lateStart() sim.Scenario {
	s := base("late-start", "the load is there before the controller, so no idle delay was ever seen", sim.UDP)
	s.Onset = 5 * time.Second
	s.Events = []sim.Event{offer(0, 150*mbit, both...), {At: s.Onset, Restart: true}, {At: 0, Probing: sim.Off}, {At: s.Onset, Probing: sim.On}}
	return s
}

// promQLOnly is on a smaller uplink, since it takes long.
func promQLOnly() sim.Scenario {
	s := base("promql-only", "the app is known by a query alone: its 95th percentile over 60 s, scraped each 15 s", sim.UDP)
	s.Nodes[0].Up, s.Nodes[0].Queue = uplink/4, deepQueue/4
	s.Apps = []sim.AppSpec{robot("n2")}
	s.Apps[0].SLO = workload.SLO{Latency: 5 * time.Millisecond}
	s.Query = sim.Query{Range: time.Minute, Scrape: 15 * time.Second, Every: 5 * time.Second}
	s.Length, s.Onset, s.End = 30*time.Minute, 3*time.Minute, 29*time.Minute
	s.Events = []sim.Event{offer(s.Onset, 35*mbit, both...), offer(s.End, 0, both...)}
	return s
}
