package worlds

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
)

// told is a world in which something is said of the loaded uplink, played for less long.
func told(w sim.Scenario, said plan.Told) sim.Scenario {
	said.Node = "n1"
	w.Told, w.Length = []plan.Told{said}, 60*time.Second
	w.End = w.Length
	return w
}

// mean is the share of late probes and the goodput over a few seeds.
func mean(t *testing.T, seeds int, w sim.Scenario) (late float64, goodput bitrate.Rate) {
	t.Helper()
	for seed := range seeds {
		s := sim.Run(w, lawNamed(t, law.Adaptive), uint64(seed)+1).Score()
		late, goodput = late+s.Violation/float64(seeds), goodput+s.Goodput/bitrate.Rate(seeds)
	}
	return late, goodput
}

// threefold offers 600M to 200M.
func threefold() sim.Scenario {
	s := overload("threefold-overload", "two pods send three times what fits through", sim.UDP)
	s.Events[0].Offered = 300 * mbit
	return s
}

// What is said of an uplink, if it is right, spares the search: after an onset of far too
// much, and to a new leader.
func TestWhatIsToldSparesTheSearch(t *testing.T) {
	for _, tt := range []struct {
		world sim.Scenario
		said  plan.Told
		share float64 // of the late probes of who is told nothing
	}{
		{threefold(), plan.Told{Found: 194 * mbit}, 0.7},
		{threefold(), plan.Told{Rate: uplink}, 0.7},
		{worldNamed(t, "restart"), plan.Told{Found: 194 * mbit}, 0.7},
	} {
		t.Run(tt.world.Name, func(t *testing.T) {
			t.Parallel()
			without, sent := mean(t, 5, told(tt.world, plan.Told{}))
			with, now := mean(t, 5, told(tt.world, tt.said))
			if with > tt.share*without || float64(now) < 0.98*float64(sent) {
				t.Errorf("%+v: %.2f %% late, %v; told nothing %.2f %%, %v", tt.said, 100*with, now, 100*without, sent)
			}
		})
	}
}

// Where the queue is the node's own, what leaves it tells what fits through, also where the
// queue overflowed; the counters of a node say nothing of a queue further on.
func TestWhatLeavesTheNodeTellsTheCapacity(t *testing.T) {
	own := threefold()
	own.OwnQueue = true
	without, sent := mean(t, 5, threefold())
	with, now := mean(t, 5, own)
	if with > without/2 || float64(now) < 0.99*float64(sent) {
		t.Errorf("%.2f %% late, %v; without it %.2f %%, %v", 100*with, now, 100*without, sent)
	}
}

// What is wrong by a factor of ten either way costs little of either.
func TestWhatIsToldMayBeWrong(t *testing.T) {
	worlds := []sim.Scenario{threefold(), worldNamed(t, "tcp-overload"), worldNamed(t, "restart")}
	if race {
		worlds = worlds[:1]
	}
	for _, world := range worlds {
		t.Run(world.Name, func(t *testing.T) {
			t.Parallel()
			without, sent := mean(t, 1, told(world, plan.Told{}))
			for _, said := range []plan.Told{
				{Found: 1940 * mbit}, {Found: 19 * mbit}, {Rate: 20 * mbit}, {Rate: 2 * bitrate.Gbit},
				{Found: 19 * mbit, Rate: 2 * bitrate.Gbit}, {Found: 1940 * mbit, Rate: 20 * mbit},
			} {
				with, now := mean(t, 1, told(world, said))
				if with > 1.2*without+0.002 || float64(now) < 0.94*float64(sent) {
					t.Errorf("%+v: %.2f %% late, %v; told nothing %.2f %%, %v", said, 100*with, now, 100*without, sent)
				}
			}
		})
	}
}
