package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/traffic/load"
)

// world is a situation that every contender goes through.
type world struct {
	name   string
	about  string
	length time.Duration // unless -duration says otherwise
	loads  func(capacity bitrate.Rate, d time.Duration) scene.Loads
	// shifts are the changes of the bottleneck's capacity during the run.
	shifts []shift
	// elsewhere: no limit can help, and every bit taken is taken in vain.
	elsewhere bool
	// tail: when the load has ended, what the limits allow is watched on.
	tail bool
	// uneven divides a static budget so that more gets through than by equal
	// limits, at the expense of one of the senders.
	uneven func(budget, capacity bitrate.Rate) []bitrate.Rate
}

// shift is a change of capacity, both as shares: of the run and of the capacity
// at its start.
type shift struct{ at, to float64 }

// least is the smallest capacity during the run, as a share: what a static
// limit has to live with.
func (w world) least() float64 {
	least := 1.0
	for _, s := range w.shifts {
		least = min(least, s.to)
	}
	return least
}

var worlds = []world{
	{name: calmWorld, about: "two inelastic senders at half the capacity: nothing to do", length: time.Minute, loads: calm, elsewhere: true},
	{name: "tcp", about: "two elastic senders", length: time.Minute, loads: named("tcp"), tail: true},
	{name: "udp", about: "two inelastic senders, 1.5 × capacity", length: time.Minute, loads: named("udp"), tail: true},
	{name: "bursty", about: "one elastic sender, 3 s on and 2 s off, and one inelastic at 0.75 × capacity", length: time.Minute, loads: named("bursty"), uneven: inelasticFirst},
	{name: "drop", about: "two inelastic senders; the uplink loses half its capacity for the middle third", length: 75 * time.Second, loads: named("udp"),
		shifts: []shift{{1.0 / 3, 0.5}, {2.0 / 3, 1}}},
	{name: "cpu", about: "inelastic senders at half the capacity, and a busy host that delays the critical services", length: time.Minute, loads: hogged, elsewhere: true},
}

func named(name string) func(bitrate.Rate, time.Duration) scene.Loads {
	return func(capacity bitrate.Rate, d time.Duration) scene.Loads {
		loads, err := scene.NamedLoads(name, capacity, d)
		if err != nil {
			panic(err) // the names above are constants
		}
		return loads
	}
}

func calm(capacity bitrate.Rate, d time.Duration) scene.Loads {
	loads := scene.Loads{}
	for _, name := range scene.Senders {
		loads[name] = load.Load{Kind: load.UDP, Rate: capacity / 4, For: d}
	}
	return loads
}

func hogged(capacity bitrate.Rate, d time.Duration) scene.Loads {
	loads := calm(capacity, d)
	loads[scene.Hog] = load.Load{Kind: load.CPU, Conns: 4, For: d}
	return loads
}

// inelasticFirst leaves the steady sender of bursty all that it sends.
func inelasticFirst(budget, capacity bitrate.Rate) []bitrate.Rate {
	steady := capacity * 3 / 4
	return []bitrate.Rate{steady, budget - steady}
}

func equal(budget, _ bitrate.Rate) []bitrate.Rate { return []bitrate.Rate{budget / 2, budget / 2} }

// contender is a law, or what laws are compared with.
type contender struct {
	name string
	law  bool
	// start is every sender's limit at the onset.
	start bitrate.Rate
}

// Contenders that are no laws.
const (
	nothing = "nothing" // nobody limits anybody
	oracle  = "oracle"  // the best static limit, the same for each sender, found by trying
	uneven  = "uneven"  // a static limit for each sender: what gets through where fairness does not count
)

// adaptive begins far above what fits. The original's limits began at 100M
// (its wiki): from 1G its laws need minutes to come down to an uplink of 200M,
// and a run would show nothing else of them.
var contenders = []contender{
	{nothing, false, bitrate.Gbit},
	{"step", true, 100 * bitrate.Mbit},
	{"aimd", true, 100 * bitrate.Mbit},
	{adaptive, true, bitrate.Gbit},
	{oracle, false, bitrate.Gbit},
	{uneven, false, bitrate.Gbit},
}

// What the bars are about, and the laws that it is compared with.
const (
	adaptive  = "adaptive"
	calmWorld = "calm"
)

var grewFrom = []string{"aimd", "step"}

// length of a contender's run. Doing nothing is the same all along: it is given
// half of the time where it is not what others are measured by.
func (c contender) length(w world) time.Duration {
	if c.name == nothing && !w.elsewhere {
		return w.length / 2
	}
	return w.length
}

// plays tells whether a contender has anything to do in a world.
func (c contender) plays(w world) bool {
	switch c.name {
	case oracle:
		return !w.elsewhere // no limit is the best there
	case uneven:
		return w.uneven != nil
	}
	return true
}

// chosen keeps what a comma-separated list names, in the order of all; an
// empty list keeps everything.
func chosen[T any](all []T, list []string, name func(T) string) ([]T, error) {
	var kept []T
	for _, x := range all {
		if len(list) == 0 || slices.Contains(list, name(x)) {
			kept = append(kept, x)
		}
	}
	for _, want := range list {
		if !slices.ContainsFunc(all, func(x T) bool { return name(x) == want }) {
			return nil, fmt.Errorf("%q is none of those there are", want)
		}
	}
	return kept, nil
}
