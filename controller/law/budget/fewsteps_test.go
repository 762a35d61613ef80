package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// fallenBeforeFullSockets is a link of 200 Mbit/s that fell to half, before sockets that are full, and a look at it ten seconds later.
func fallenBeforeFullSockets() (Turn, Budget) {
	b := Budget{Phase: plan.Settled, Total: 92 * mbit, Link: Link{Known: true, Measured: true, Capacity: 100 * mbit, Best: 200 * mbit, Proven: 92 * mbit, Falls: 1}}
	b.Link.Fell, b.Link.GoesOn, b.Link.Eased = t0.Add(-10*time.Second), t0.Add(-10*time.Second), t0.Add(-10*time.Second)
	b.Search.Raised, b.Search.Wait, b.Search.At = t0.Add(-10*time.Second), 10*time.Second, t0
	turn := Turn{Config: config, Sense: sense.DefaultConfig(), Feedback: 100 * ms, Now: t0, Opinion: &blame.Opinion{}}
	turn.Load = senders.Load{Peak: 92 * mbit, Limits: 92 * mbit, Bound: true, More: true, Room: true, Sockets: true, Paced: true, Seen: t0, SeenFrom: t0.Add(-100 * ms)}
	return turn, b
}

// Where each change of a limit costs as much however small it is, what was lost is tried for at once beyond what fits, and then beyond that.
func TestLostCapacityIsTriedForInFewStepsWhereEachCosts(t *testing.T) {
	turn, b := fallenBeforeFullSockets()
	if turn.grow(&b); b.Phase != plan.Trying || !near(b.Total, 106*mbit, 0.001) {
		t.Errorf("%v is tried for, want 106M", b.Total)
	}
	if turn.grow(&b); b.Total > 106*mbit {
		t.Error("the first has not shown yet")
	}
	turn.Now = t0.Add(time.Second)
	turn.Load.Seen, turn.Load.Peak, turn.Load.Limits = turn.Now, 106*mbit, 106*mbit
	if turn.grow(&b); b.Total <= 110*mbit {
		t.Errorf("then %v is, want a tenth more than was known to fit", b.Total)
	}
	turn, b = fallenBeforeFullSockets()
	b.Link.GoesOn, turn.Load.Paced = time.Time{}, false
	if turn.grow(&b); b.Total > 94*mbit {
		t.Errorf("%v is tried for where nothing waits in sockets", b.Total)
	}
}

// Such a try in vain says nothing new of the link: what went through before is given out again, but for what goes on, and the next waits for twice as long.
func TestATryInVainIsUndoneWithoutAskingWhatFits(t *testing.T) {
	turn, b := fallenBeforeFullSockets()
	turn.grow(&b)
	turn.Now = t0.Add(300 * ms)
	turn.Load.Peak, turn.Load.Limits, turn.Load.Floors = 80*mbit, 106*mbit, 20*mbit // they are not back yet
	turn.Opinion = &blame.Opinion{Verdict: sense.Verdict{Allow: ms, Soft: ms / 2, Standing: true, Worst: sense.Reading{Recent: 3 * ms}}}
	if r := turn.relieve(&b); r.Action != plan.Cut || b.Phase != plan.Cutting {
		t.Fatalf("%v %v", r.Action, r.Cause)
	}
	turn.Now, turn.Load.Goes = t0.Add(800*ms), 6*mbit
	turn.goesOn(&b)
	turn.settle(&b)
	if b.Phase != plan.Settled || b.Link.Capacity != 100*mbit {
		t.Errorf("%v, and %v are thought to fit", b.Phase, b.Link.Capacity)
	}
	if b.Total > 92*mbit || b.Total < 91*mbit {
		t.Errorf("%v is given out, want what went through before", b.Total)
	}
	if next := b.Search.At.Sub(turn.Now); next != 20*time.Second {
		t.Errorf("the next try waits %v, want twice as long", next)
	}
}

// A queue that follows no try is none in vain: the next does not wait for longer.
func TestOnlyATryInVainHasTheNextWaitForLonger(t *testing.T) {
	for tried, want := range map[bool]time.Duration{true: 20 * time.Second, false: 10 * time.Second} {
		turn, b := fallenBeforeFullSockets()
		b.Trouble.Tried = tried
		if turn.wait(&b, true); b.Search.Wait != want {
			t.Errorf("tried %v: waits %v, want %v", tried, b.Search.Wait, want)
		}
	}
}

// What was left free for what went on from low limits is given out once nothing does, if that is worth the change until the next try.
func TestWhatWentOnIsGivenOutAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		ago, next time.Duration
		want      bitrate.Rate
	}{
		"it still goes on":        {time.Second, 20 * time.Second, 92 * mbit},
		"it is gone":              {3 * time.Second, 20 * time.Second, 97 * mbit},
		"the next try is so soon": {3 * time.Second, 2 * time.Second, 92 * mbit},
		"the next try is due":     {3 * time.Second, -20 * time.Second, 106 * mbit},
	} {
		turn, b := fallenBeforeFullSockets()
		b.Search.Raised, b.Search.At = t0.Add(-tt.ago), t0.Add(tt.next)
		if turn.grow(&b); b.Total != tt.want {
			t.Errorf("%s: %v is given out, want %v", name, b.Total, tt.want)
		}
	}
}

// A queue while nobody of them sends is no try in vain.
func TestAQueueOfOthersIsNoTryInVain(t *testing.T) {
	for peak, want := range map[bitrate.Rate]bool{100 * mbit: true, 0: false} {
		turn, b := fallenBeforeFullSockets()
		b.Phase, turn.Load.Peak = plan.Trying, peak
		if got := turn.vainly(&b); got != want {
			t.Errorf("sending %v: in vain %v", peak, got)
		}
	}
}
