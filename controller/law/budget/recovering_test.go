package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// climb plays a budget that is in use and meets no queue, and returns it after every raise.
func climb(b Budget, steps int, verdict sense.Verdict) (raises []Budget) {
	turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{Verdict: verdict}}
	for range steps {
		turn.Now = turn.Now.Add(time.Second)
		turn.Load = senders.Load{Peak: b.Total, Limits: b.Total, Bound: true, More: true, Room: true}
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

// What was sent over a window that began before a raise is partly of before: it says less
// than was let through.
func TestAWindowFromBeforeARaiseSaysTooLittle(t *testing.T) {
	for began, want := range map[time.Duration]bitrate.Rate{-120 * ms: 196 * mbit, -60 * ms: 181 * mbit} {
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}}
		turn.Load = senders.Load{Peak: 181 * mbit, Limits: 196 * mbit, SeenFrom: t0.Add(began), Seen: t0.Add(-10 * ms), Room: true}
		b := Budget{Phase: plan.Settled, Total: 196 * mbit, Link: Link{Known: true, Capacity: 202 * mbit}, Search: Search{Raised: t0.Add(-100 * ms)}}
		if turn.cut(&b); b.Link.Upper != want {
			t.Errorf("window from %v on: %v was too much, want %v", began, b.Link.Upper, want)
		}
	}
}

// Where nothing else says what fits through, the search begins below what the way up says.
func TestASearchBeginsAtWhatTheWayUpSays(t *testing.T) {
	for slope, want := range map[float64]bitrate.Rate{0: 110 * mbit, 0.2: 180 * mbit} { // a queue of 240M that grows by 0.2 s a second is before 200M
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
		b := Budget{Total: 110 * mbit, Trouble: Trouble{Rise: queue.Way{Slope: slope, Inflow: 240 * mbit}}}
		turn.measure(&b, episode{full: 240 * mbit, pinned: true})
		if c := b.Link.Capacity; !b.Search.Even || !near(c, want, 0.02) {
			t.Errorf("slope %v: it begins at %v, even %v; want %v", slope, c, b.Search.Even, want)
		}
	}
}

// Below a small step, or one towards what was too much, lies what fits through: where a
// queue follows, all of that is given out again.
func TestWhatWasGoodBeforeASmallStepIsGivenOutAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		search Search
		want   bitrate.Rate
	}{
		"fine":  {Search{Fine: true, Step: fineStep}, 193 * mbit},
		"even":  {Search{Even: true}, 193 * mbit},
		"other": {Search{}, 190 * mbit},
	} {
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}}
		turn.Opinion.Allow, turn.Opinion.Worst.Recent = ms, 3*ms
		turn.Load = senders.Load{Peak: 195 * mbit, Limits: 195 * mbit, SeenFrom: t0.Add(-60 * ms), Seen: t0.Add(-10 * ms), Room: true}
		b := Budget{
			Phase: plan.Trying, Total: 195 * mbit, Search: tc.search,
			Link: Link{Known: true, Measured: true, Capacity: 198 * mbit, Best: 198 * mbit, Proven: 193 * mbit},
		}
		b.Search.Raised = t0.Add(-100 * ms)
		turn.cut(&b)
		if got := bitrate.Scale(b.Link.Capacity, config.Settle); !near(got, tc.want, 0.002) {
			t.Errorf("%s: %v is to be given out again, want %v", name, got, tc.want)
		}
	}
}
