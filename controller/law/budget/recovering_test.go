package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// climb plays a budget that is in use and meets no queue, and returns it after every raise.
func climb(b Budget, steps int, verdict sense.Verdict) (raises []Budget) {
	turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &Opinion{Verdict: verdict}}
	for range steps {
		turn.Now = turn.Now.Add(time.Second)
		turn.Load = Load{Peak: b.Total, Limits: b.Total, Bound: true, More: true, Room: true}
		if turn.Decide(&b).Action == plan.Grow {
			raises = append(raises, b)
		}
	}
	return raises
}

func fine() Budget {
	return Budget{
		Phase: plan.Settled, Total: 97 * mbit, Link: Link{Known: true, Capacity: 100 * mbit, Best: 100 * mbit, Measured: true, Upper: 108 * mbit},
		Search: Search{Fine: true},
	}
}

// Small steps are for what lies between two estimates of the capacity: a link that carries
// more than both is tried for in growing steps, as any other.
func TestSmallStepsEndAtWhatWasSeenToGoThrough(t *testing.T) {
	last := 97 * mbit
	for _, b := range climb(fine(), 60, sense.Verdict{}) {
		step := float64(b.Total)/float64(last) - 1
		if last < 107*mbit && step > 1.05*mostFine {
			t.Errorf("from %v a step of %.3f, want %v at the most", last, step, mostFine)
		}
		if last > 150*mbit && step < 4*fineStep {
			t.Fatalf("from %v still a step of %.3f", last, step)
		}
		last = b.Total
	}
	if last < 300*mbit {
		t.Errorf("%v after a minute without a queue", last)
	}
}

// While an app is late by its host, what a cut took too much is made up for, and no more
// than that.
func TestWhoIsLateByItsHostIsNotRaisedIntoForMoreThanWasTaken(t *testing.T) {
	even := fine()
	even.Search = Search{Even: true}
	for name, b := range map[string]Budget{"fine": fine(), "even": even} {
		raises := climb(b, 60, sense.Verdict{Elsewhere: &sense.Verdict{}})
		if len(raises) == 0 {
			t.Fatalf("%s: nothing is made up for", name)
		}
		if last := raises[len(raises)-1]; last.Total < 105*mbit || last.Total > 113*mbit {
			t.Errorf("%s: raised to %v, want what was seen to go through, 108M, or a step more", name, last.Total)
		}
	}
}
