package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/workload/load"
)

// world is a situation that every contender goes through.
type world struct {
	name  string
	about string
	loads func(capacity bitrate.Rate, d time.Duration) scene.Loads
	// least is the smallest capacity of the bottleneck during the run, as a
	// share: what a static limit has to live with.
	least float64
	// events happen to the cluster while the load runs.
	events func(ctx context.Context, s *scene.Scene, capacity bitrate.Rate, d time.Duration) error
	// elsewhere: no limit can help, and every bit taken is taken in vain.
	elsewhere bool
}

var worlds = []world{
	{name: "calm", about: "two inelastic senders at half the capacity: nothing to do", least: 1, loads: calm, elsewhere: true},
	{name: "tcp", about: "two elastic senders", least: 1, loads: named("tcp")},
	{name: "udp", about: "two inelastic senders, 1.5 × capacity", least: 1, loads: named("udp")},
	{name: "bursty", about: "one elastic sender, 3 s on and 2 s off, and one inelastic at 0.75 × capacity", least: 1, loads: named("bursty")},
	{name: "drop", about: "two inelastic senders; the uplink loses half its capacity for the middle third", least: 0.5, loads: named("udp"), events: halve},
	{name: "cpu", about: "inelastic senders at half the capacity, and a busy host that delays the critical services", least: 1, loads: hogged, elsewhere: true},
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

func halve(ctx context.Context, s *scene.Scene, capacity bitrate.Rate, d time.Duration) error {
	for _, c := range []bitrate.Rate{capacity / 2, capacity} {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d / 3):
		}
		if err := s.SetCapacity(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Contenders besides the laws.
const (
	nothing = "nothing" // nobody limits anybody
	oracle  = "oracle"  // the best static limit, found by trying
)

var contenders = []string{nothing, "step", "aimd", "adaptive", oracle}

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
