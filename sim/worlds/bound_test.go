package worlds

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
)

// bound is what the bound of a world comes to by each of some seeds.
func bound(t *testing.T, world sim.Scenario, seeds ...uint64) (scores []sim.Score) {
	t.Helper()
	records, err := sim.Bound(t.Context(), world, seeds)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		scores = append(scores, r.Score())
	}
	return scores
}

// Who is told what is so at each moment has nearly all that fits, and nearly nothing late,
// but of UDP before fq under legacy host routing: of two that do not slow down one has all that it
// offers, and the other next to nothing. Floors that come to more than fits through are made smaller.
func TestTheBoundOfALimiter(t *testing.T) {
	for _, tt := range []struct {
		world       string
		limiter     plan.Limiter
		late        float64
		least, most bitrate.Rate // best effort
	}{
		{"udp-overload", plan.TokenBucket, 0.002, 195 * mbit, 200 * mbit},
		{"udp-overload", plan.EDTHostRouting, 0.002, 195 * mbit, 200 * mbit},
		{"udp-overload", plan.EDT, 0.002, 145 * mbit, 155 * mbit},
		{"floors-together", plan.TokenBucket, 0.005, 190 * mbit, 200 * mbit},
		{"idle-floors", plan.TokenBucket, 0.002, 190 * mbit, 200 * mbit},
		{"tcp-overload", plan.EDT, 0.002, 195 * mbit, 200 * mbit},
		{"incast", plan.TokenBucket, 0.003, 195 * mbit, 200 * mbit}, // a downlink counts as well
	} {
		world := Limited(worldNamed(t, tt.world), tt.limiter)
		got := bound(t, world, 1)[0]
		if got.Violation > tt.late || got.Goodput < tt.least || got.Goodput > tt.most {
			t.Errorf("%s before %s: %.2f %% late, %v", tt.world, tt.limiter, 100*got.Violation, got.Goodput)
		}
	}
}

// What leaves a queue standing by one of the seeds is no bound, though it is the best by the first.
func TestTheBoundIsOneByAllSeeds(t *testing.T) {
	world := Limited(worldNamed(t, "guests"), plan.EDTHostRouting)
	world.Length, world.End = 42*time.Second, 40*time.Second // the uplink falls at 35 s
	for i, got := range bound(t, world, 1, 2) {
		if got.Violation > 0.02 || got.Goodput < 140*mbit {
			t.Errorf("by seed %d: %.2f %% late, %v", i+1, 100*got.Violation, got.Goodput)
		}
	}
}

// It knows no future: others that come for more than was left are met after the fact, and
// what it is told late costs it as it does a law.
func TestTheBoundIsNotToldWhatComes(t *testing.T) {
	world := worldNamed(t, "cross-traffic")
	soon := sim.Way{Spare: 0.005}.Run(world, 1).Score()
	world.PatchDelay[0], world.PatchDelay[1] = 500*time.Millisecond, 500*time.Millisecond
	late := sim.Way{Spare: 0.005}.Run(world, 1).Score()
	if soon.Violation < 0.002 || late.Violation < 2*soon.Violation {
		t.Errorf("%.2f %% late, and %.2f %% with limits that take longer", 100*soon.Violation, 100*late.Violation)
	}
}

// Capacity that is back shows only once more is sent: who does not try for it never has it, who does
// has it from its first try after that on, and one before is in vain. Where nothing was lost nothing is tried for.
func TestTheBoundTriesForWhatIsBack(t *testing.T) {
	score := func(name string, tries sim.Tries) sim.Score {
		return sim.Way{Spare: 0.03, Tries: tries}.Run(Limited(worldNamed(t, name), plan.EDT), 1).Score()
	}
	never, soon, after := score("comeback", sim.Tries{}), score("comeback", sim.Tries{After: 10 * time.Second}), score("comeback", sim.Tries{After: 30 * time.Second})
	t.Logf("never: %.2f %% late, %v; from 10 s on: %.2f %%, %v; from 30 s on, 5 s after it is back: %.2f %%, %v",
		100*never.Violation, never.Goodput, 100*soon.Violation, soon.Goodput, 100*after.Violation, after.Goodput)
	if never.Goodput > 60*mbit || after.Goodput < 80*mbit || soon.Violation < never.Violation+0.001 {
		t.Error("want it had by who tries, and what is tried in vain late")
	}
	if none, some := score("udp-overload", sim.Tries{}), score("udp-overload", sim.Tries{After: time.Second}); none != some {
		t.Errorf("a link that lost nothing is tried: %+v, %+v", none, some)
	}
}

// Under BPF host routing, where full sockets go on at the low limit beside the new one, it
// matters most how much is left free beside others that come and go: 6 % instead of 3 % has
// much less late and more best effort, since there are fewer changes. At once they make a queue each.
func TestWhatIsLeftFreeBesideOthersUnderHostRouting(t *testing.T) {
	world := Limited(worldNamed(t, "cross-traffic"), plan.EDTHostRouting)
	score := func(spare float64, flush bool) sim.Score {
		return sim.Way{Spare: spare, Flush: flush}.Run(world, 1).Score()
	}
	little, more, atOnce := score(0.03, true), score(0.06, true), score(0.06, false)
	t.Logf("%.2f %% late, %v; %.2f %%, %v; at once %.2f %%, %v", 100*little.Violation, little.Goodput, 100*more.Violation, more.Goodput, 100*atOnce.Violation, atOnce.Goodput)
	if more.Violation > little.Violation/2 || more.Goodput < little.Goodput || atOnce.Violation < 0.2 {
		t.Error("want less late and more best effort with 6 % left free than with 3 %, and a queue where changes are made at once")
	}
}
