package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// What fq lets out at once of one that comes back from a low limit, 100 packets that take 6 ms of a link of
// 200 Mbit/s, is no queue of the link's. Where more is tried for it takes no longer than if that fits.
func TestWhoComesBackIsNotCutForItsBursts(t *testing.T) {
	for name, tt := range map[string]struct {
		late         time.Duration
		resuming     bool
		want, trying bool
	}{
		"a ripple, and nobody comes back": {3 * ms, false, true, true},
		"more, and nobody does":           {7 * ms, false, false, false},
		"what comes at once":              {6 * ms, true, true, true},
		"more than that":                  {8 * ms, true, true, false},
		"half as much again":              {12 * ms, true, false, false},
	} {
		for phase, want := range map[plan.Phase]bool{plan.Settled: tt.want, plan.Trying: tt.trying} {
			v := sense.Verdict{Allow: ms, Standing: true}
			v.Worst.Recent, v.Worst.Tail = tt.late, tt.late
			turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{Verdict: v}}
			turn.Load = senders.Load{Paced: true, Resuming: tt.resuming, Peak: 150 * mbit, Limits: 190 * mbit}
			b := Budget{Phase: phase, Total: 190 * mbit, Link: Link{Known: true, Capacity: 196 * mbit}, Search: Search{Raised: t0.Add(-time.Second)}}
			if phase == plan.Trying { // half of it was lost
				b.Link.Capacity /= 2
			}
			if got := turn.ripples(&b); got != want {
				t.Errorf("%s, %v: a ripple %v, want %v", name, phase, got, want)
			}
		}
	}
}

// Nothing more is tried for while somebody comes back: what comes through is not all that will.
func TestNothingIsTriedForWhileSomebodyComesBack(t *testing.T) {
	for resuming, want := range map[bool]plan.Action{false: plan.Grow, true: plan.Hold} {
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}}
		turn.Load = senders.Load{Paced: true, Resuming: resuming, Peak: 190 * mbit, Limits: 190 * mbit, Bound: true, More: true, Room: true}
		b := fine()
		b.Total, b.Link.Capacity, b.Link.Best, b.Search = 190*mbit, 196*mbit, 196*mbit, Search{Raised: t0.Add(-3 * time.Second)}
		if got := turn.grow(&b).Action; got != want {
			t.Errorf("somebody comes back %v: %v, want %v", resuming, got, want)
		}
	}
}

// A link that more is tried of is not known to hold that: a tail there is no tail of half a load.
func TestATryIsNotKnownToFit(t *testing.T) {
	for phase, want := range map[plan.Phase]plan.Cause{plan.Settled: plan.NearTarget, plan.Trying: plan.Violation} {
		v := sense.Verdict{Allow: ms, Tail: true}
		v.Worst.Recent, v.Worst.Tail = 5*ms, 5*ms
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{Verdict: v}}
		turn.Load = senders.Load{Paced: true, Peak: 150 * mbit, Limits: 190 * mbit, Bound: true, More: true, Room: true}
		b := Budget{Phase: phase, Total: 190 * mbit, Link: Link{Known: true, Measured: true, Capacity: 150 * mbit}, Search: Search{Raised: t0.Add(-time.Second)}}
		if got := turn.relieve(&b).Cause; got != want {
			t.Errorf("%v: %v, want %v", phase, got, want)
		}
	}
}

// Of UDP less comes to the link than its limits let through, so that its queue leaves as if nearly all that was sent
// fitted. As it overflowed, that is not believed.
func TestWhatDropsBehindItsLimitsDoesNotTellTheCapacity(t *testing.T) {
	for drops, want := range map[bool]bool{false: true, true: false} {
		for _, fell := range []bool{false, true} { // also where more than the beginning of the way down is known
			turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Paced: true, Drops: drops}}
			b := Budget{Total: 200 * mbit}
			turn.measure(&b, episode{down: queue.Way{Slope: -0.75, Inflow: 200 * mbit}, long: true, full: 401 * mbit, pinned: true, fell: fell})
			if b.Link.Measured != want || b.Search.Even == want {
				t.Errorf("somebody sends more than its limit %v, full includes the way down %v: %+v", drops, fell, b.Link)
			}
		}
	}
}
