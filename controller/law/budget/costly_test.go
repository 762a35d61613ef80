package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// before says whether each change of a limit costs, and the turn is one at which that is so.
var before = map[string]senders.Load{"a change costs": {Paced: true}, "it does not": {}, "only at first": {Paced: true, Sockets: true}}

// As limits are low for the change, old packets leave that are not counted any more: where the way up told what fits, what
// was counted on the way down does not say that less does.
func TestWhatIsCountedWhileLimitsAreLowIsNoMeasure(t *testing.T) {
	for name, load := range before {
		b, turn, see := youngQueue(194*mbit, func(at time.Duration) time.Duration { return 40 * ms })
		see(-400, 190)
		sender := plan.Sender{Pod: plan.PodID{Name: "s"}, Node: "n1"}
		for i := -400; i <= 200; i += 100 {
			sent := 194 * mbit
			if i > 0 {
				sent = 90 * mbit
			}
			sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(t0.Add(time.Duration(i) * ms)), Tx: sent})
		}
		turn.Now, turn.Senders, turn.Load = t0.Add(200*ms), []*plan.Sender{&sender}, load
		b.Link.Cut, b.Link.Upper, b.Trouble.InForce = t0, 194*mbit, 194*mbit
		if e := turn.episode(&b); (e.full > 150*mbit) != load.Costly() {
			t.Errorf("%s: %v are taken to have gone through", name, e.full)
		}
	}
}

// A link that carries far more than it did, by what came on the way down, is one on which more came than was counted.
func TestALinkIsNotTakenToHaveGrownByAQueueThatLeavesSlowly(t *testing.T) {
	for name, load := range before {
		turn := Turn{Config: config, Now: t0, Load: load}
		b := Budget{Link: Link{Known: true, Capacity: 170 * mbit, Upper: 194 * mbit}}
		b.Trouble.Before.Link = Link{Known: true, Capacity: 200 * mbit}
		b.Trouble.Rise = queue.Way{Slope: 0.14, Inflow: 194 * mbit}
		turn.gauge(&b, episode{down: queue.Way{Slope: -0.43, Inflow: 6 * mbit}, full: 194 * mbit, pinned: true})
		if kept := b.Link.Capacity == 170*mbit && b.Link.Others == 0; kept != load.Costly() {
			t.Errorf("%s: %v fit, and others have %v", name, b.Link.Capacity, b.Link.Others)
		}
	}
}

// What is sent while limits are low is not what is known to go through.
func TestWhatIsSentWhileLimitsAreLowProvesNothing(t *testing.T) {
	for name, load := range before {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: load}
		turn.Load.Peak = 6 * mbit
		b := Budget{Phase: plan.Draining, Total: 97 * mbit, Link: Link{Known: true, Capacity: 100 * mbit, Upper: 194 * mbit}}
		if turn.settle(&b); (b.Link.Proven == 0) != load.Costly() {
			t.Errorf("%s: %v are", name, b.Link.Proven)
		}
	}
}

// A cut for a try for more takes no more than has to go again: what is low for the change empties the queue. One for a
// link that fell does, and one after another.
func TestACutForATryTakesLittleWhereChangesCost(t *testing.T) {
	for name, load := range before {
		for _, tt := range []struct {
			raised time.Duration
			phase  plan.Phase
			little bool
		}{{500 * ms, plan.Trying, true}, {time.Minute, plan.Settled, false}, {500 * ms, plan.Draining, false}} {
			turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: load}
			turn.Load.Peak = 198 * mbit
			b := Budget{Phase: tt.phase, Total: 202 * mbit, Link: Link{Known: true, Capacity: 200 * mbit}, Search: Search{Raised: t0.Add(-tt.raised)}}
			turn.lower(&b, 202*mbit, 0.3, config.MaxCut)
			want := 140 * mbit
			if tt.little && load.Costly() {
				want = bitrate.Scale(200*mbit, 1-config.MinCut)
			}
			if b.Total != want {
				t.Errorf("%s, %s %v after a raise: cut to %v, want %v", name, tt.phase, tt.raised, b.Total, want)
			}
		}
	}
}

// As pods come back from a low limit, a sub-window has less in it than makes the queue: their limits do.
func TestAQueueIsOfTheLimitsWhilePodsComeBack(t *testing.T) {
	for name, load := range before {
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}, Load: load}
		turn.Load.Peak, turn.Load.SeenFrom = 179*mbit, t0.Add(-100*ms)
		b := Budget{Phase: plan.Trying, Total: 204 * mbit, Search: Search{Raised: t0.Add(-300 * ms)}}
		want := 179 * mbit
		if load.Costly() {
			want = 204 * mbit
		}
		if got := turn.tooMuch(&b); got != want {
			t.Errorf("%s: %v are too much, want %v", name, got, want)
		}
	}
}

// Where nothing is known of the link each step is twice the first: there are fewer of them.
func TestAnUnknownLinkIsTriedForInLargerStepsWhereChangesCost(t *testing.T) {
	for name, load := range before {
		turn, b := Turn{Config: config, Now: t0, Load: load}, Budget{Phase: plan.Open, Total: 100 * mbit}
		for range 2 {
			turn.raise(&b, turn.step(&b, false))
		}
		want := 169 * mbit
		if load.Costly() {
			want = 208 * mbit
		}
		if !near(b.Total, want, 0.01) {
			t.Errorf("%s: after two steps %v are given out, want %v", name, b.Total, want)
		}
	}
}

// What so large a step met is rough, and more is tried for soon. What the first one did is not.
func TestWhatALargeStepMetIsTriedForAnewSoon(t *testing.T) {
	for steps, soon := range map[int]bool{1: false, 2: true} {
		turn, b := losing(2, 300*mbit), Budget{Phase: plan.Open, Total: 100 * mbit}
		turn.Load.Paced = true
		for range steps {
			turn.raise(&b, turn.step(&b, false))
		}
		b.Phase, b.Search.Raised = plan.Trying, t0.Add(-500*ms)
		turn.cut(&b)
		if got := b.Search.Wait < config.ProbeEvery; got != soon {
			t.Errorf("after %d steps more is tried for in %v", steps, b.Search.Wait)
		}
	}
}

// Below an upper bound half of the way is tried for at a time where each change costs, and a third elsewhere.
func TestHalfOfTheWayIsTriedForWhereEachChangeCosts(t *testing.T) {
	for name, load := range before {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: load}
		b := Budget{Total: 100 * mbit, Link: Link{Known: true, Capacity: 103 * mbit, Upper: 200 * mbit}, Search: Search{Even: true}}
		want := 126 * mbit
		if load.Costly() {
			want = 141 * mbit
		}
		if to := bitrate.Scale(b.Total, 1+turn.step(&b, false)); !near(to, want, 0.01) {
			t.Errorf("%s: %v between 100M and 200M is tried for, want %v", name, to, want)
		}
	}
}
