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

// fallenLink is a budget of a link that lost half of what it had, and the turn in which it has
// waited long enough to try for more.
func fallenLink() (Budget, Turn) {
	b := Budget{
		Phase: plan.Settled, Total: 97 * mbit,
		Link: Link{Known: true, Measured: true, Capacity: 100 * mbit, Best: 200 * mbit, Falls: 1, Fell: t0.Add(-3 * time.Second)},
	}
	turn := Turn{Config: config, Sense: sense.DefaultConfig(), Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}}
	turn.Opinion.Allow, turn.Opinion.Soft = ms, ms/2
	turn.Load.Streams = true
	return b, turn
}

// play has the budget decide ten times a second, while a queue stands wherever more than fits is
// given out, and returns the most that was, and how often more was tried for.
func play(b *Budget, turn *Turn, fits bitrate.Rate, d time.Duration) (most bitrate.Rate, tries int) {
	for end := turn.Now.Add(d); turn.Now.Before(end); turn.Now = turn.Now.Add(100 * ms) {
		turn.Load = senders.Load{Peak: b.Total, Limits: b.Total, Bound: true, More: true, Room: true, Streams: turn.Load.Streams, Seen: turn.Now}
		turn.Opinion.Worst.Recent, turn.Opinion.Worst.Median = 0, 0
		if b.Total > fits {
			turn.Opinion.Worst.Recent = 2 * ms / 5
		}
		before := b.Total
		if turn.Decide(b); b.Total > before && before < 98*mbit {
			tries++
		}
		most = max(most, b.Total)
	}
	return most, tries
}

// Capacity that was lost is tried for by little, and given back at the first sign of a queue:
// what is given out in between is what was.
func TestLostCapacityIsTriedForByLittle(t *testing.T) {
	b, turn := fallenLink()
	most, tries := play(&b, &turn, 100*mbit, 30*time.Second)
	if tries < 5 || most > 102*mbit {
		t.Errorf("tried %d times in 30 s, up to %v; want often, and no more than 2 %% too much", tries, most)
	}
	for range 20 {
		play(&b, &turn, 100*mbit, 100*ms)
		if b.Search.Small.Good == 0 && b.Total != 97*mbit {
			t.Fatalf("%v after a try that was undone, want what was before: 97M", b.Total)
		}
	}
}

// When it is back, and as much goes through as met a queue before, more is tried for as ever.
func TestLostCapacityIsTakenSoonWhenItIsBack(t *testing.T) {
	b, turn := fallenLink()
	play(&b, &turn, 100*mbit, 20*time.Second)
	began := turn.Now
	for b.Total < 180*mbit && turn.Now.Sub(began) < 10*time.Second {
		play(&b, &turn, bitrate.Gbit, 100*ms)
	}
	if took := turn.Now.Sub(began); took > 5*time.Second || b.Search.Small.Good != 0 {
		t.Errorf("%v after %v, %+v; want what was before within 5 s", b.Total, took, b.Search.Small)
	}
}

// A link that falls again and again is tried for as seldom as by other searches, and by as little as ever.
func TestALinkThatFallsAgainIsTriedForSeldom(t *testing.T) {
	b, turn := fallenLink()
	b.Link.Falls = 3
	most, tries := play(&b, &turn, 100*mbit, 30*time.Second)
	if tries == 0 || tries > 2 || most > 102*mbit { // two steps of one try
		t.Errorf("raised %d times in 30 s, up to %v; want one try, of no more than 2 %% too much", tries, most)
	}
}

// Where a limit is a write, or packets wait behind one that is changed, more is tried for seldom.
func TestOnlyWhatIsToldOnStreamsIsTriedForByLittle(t *testing.T) {
	b, turn := fallenLink()
	turn.Load.Streams = false
	b.Search.At = t0.Add(10 * time.Second)
	if _, tries := play(&b, &turn, 100*mbit, 9*time.Second); tries != 0 {
		t.Errorf("%d tries within 9 s", tries)
	}
}

// A link that falls while a little more is tried for is one that fell, not one that was tried
// too hard: it is cut at once.
func TestAFallDuringASmallTryIsAFall(t *testing.T) {
	b, turn := fallenLink()
	b.Link.Fell = t0.Add(-5 * time.Minute)
	turn.Load = senders.Load{Peak: 97 * mbit, Limits: 97 * mbit, Bound: true, More: true, Room: true, Streams: true, Seen: t0}
	if turn.Decide(&b); b.Search.Small.Good == 0 {
		t.Fatalf("no try: %+v", b)
	}
	turn.Now = turn.Now.Add(300 * ms)
	session := &plan.Session{ID: "a", Vantage: "n2", Base: plan.Base{Known: true}}
	for i := range 12 {
		queue := max(0, time.Duration(i-4)*5*ms)
		session.Samples = append(session.Samples, plan.Sample{At: plan.At(turn.Now.Add(time.Duration(i-12) * 10 * ms)), RTT: queue})
	}
	turn.Paths = []queue.Path{{Session: session}}
	w := &turn.Opinion.Worst
	w.Session, w.Base, w.Recent, w.Slope, turn.Opinion.Standing = session, session.Base, 30*ms, 0.5, true
	r := turn.Decide(&b)
	if r.Action != plan.Cut || r.Cause != plan.Violation || b.Link.Falls != 1 || !b.Link.Fell.Equal(turn.Now) || b.Search.Small.Good != 0 || b.Total > 90*mbit {
		t.Errorf("%+v, %v given out, %d falls; want a cut for a link that fell", r, b.Total, b.Link.Falls)
	}
}

// Others that begin to send in a small try make a queue that undoing it does not end: that is a fall as
// well, however slowly it grows.
func TestAQueueThatWouldStayIsAFall(t *testing.T) {
	for growth, falls := range map[float64]bool{0.02: false, 0.05: true} {
		b, turn := fallenLink()
		b.Phase, b.Total, b.Search.Small.Good, b.Search.Raised = plan.Trying, 100*mbit, 97*mbit, t0.Add(-50*ms)
		session := &plan.Session{ID: "a", Vantage: "n2", Base: plan.Base{Known: true}}
		for i := range 60 { // for 0.2 s, longer than the newest step is ago
			queue := time.Duration(growth * float64(max(0, time.Duration(i-20))*5*ms))
			session.Samples = append(session.Samples, plan.Sample{At: plan.At(t0.Add(time.Duration(i-60) * 5 * ms)), RTT: queue})
		}
		turn.Paths = []queue.Path{{Session: session}}
		w := &turn.Opinion.Worst
		w.Session, w.Base, w.Recent, turn.Opinion.Standing = session, session.Base, time.Duration(growth*float64(200*ms)), true
		turn.Load = senders.Load{Peak: 100 * mbit, Limits: 100 * mbit, Bound: true, More: true, Room: true, Streams: true, Seen: t0}
		if r := turn.Decide(&b); b.Link.Fell.Equal(t0) != falls {
			t.Errorf("grown by %v: %+v; taken for a fall: %v, want %v", growth, r, !falls, falls)
		}
	}
}

// While a pod pauses no try meets a queue: one that is out is undone, none is begun, and nothing is
// taken to have come back, until they send again.
func TestNothingIsTriedForWhileAPodPauses(t *testing.T) {
	b, turn := fallenLink()
	for b.Search.Small.Good == 0 {
		play(&b, &turn, 100*mbit, 100*ms)
	}
	for range 100 {
		turn.Now = turn.Now.Add(100 * ms)
		turn.Load.Peak, turn.Load.Seen = 48*mbit, turn.Now
		if turn.Decide(&b); b.Total != 97*mbit || b.Phase != plan.Settled {
			t.Fatalf("%v given out, %s, while half of it is used; want 97M", b.Total, b.Phase)
		}
	}
	if _, tries := play(&b, &turn, 100*mbit, time.Second); tries == 0 {
		t.Error("not tried for as they send again")
	}
}

// What a single queue told of the capacity may be too little: once it is tried for what more
// there is, and what that shows is given out.
func TestAFirstEstimateIsTriedOnce(t *testing.T) {
	b, turn := fallenLink()
	b.Link.Falls, b.Link.Fell, b.Link.Best, b.Search.Wait = 0, time.Time{}, 100*mbit, time.Minute
	b.Search.Small.First = true
	most, _ := play(&b, &turn, 103*mbit, 20*time.Second)
	if most > 104*mbit || b.Total < 99*mbit || b.Total > 101*mbit {
		t.Errorf("up to %v, then %v; want 97 %% of the 103M that fit", most, b.Total)
	}
	settled := b.Total
	if most, _ = play(&b, &turn, 103*mbit, 30*time.Second); most != settled {
		t.Errorf("tried again up to %v within half a minute of the first try", most)
	}
}

// Of what is tried where nothing is seen any more, nobody knows whether it is too much: it ends.
func TestASmallTryEndsWhereNothingIsSeen(t *testing.T) {
	b, turn := fallenLink()
	for b.Search.Small.Good == 0 {
		play(&b, &turn, 100*mbit, 100*ms)
	}
	turn.Opinion.Blind, turn.Now = true, turn.Now.Add(time.Second)
	if r := turn.Decide(&b); r.Action != plan.Cut || b.Total != 97*mbit || b.Search.Small.Good != 0 || b.Phase != plan.Settled {
		t.Errorf("%+v, %v given out, %+v; want what was before: 97M", r, b.Total, b.Search.Small)
	}
	turn.Now = turn.Now.Add(time.Second)
	if r := turn.Decide(&b); r.Action != plan.Hold || b.Total != 97*mbit {
		t.Errorf("%+v, %v given out; want it held", r, b.Total)
	}
}

// Who found no queue where one is to show, and then met one, was wrong about the link: traffic that
// pauses has it so, again and again. It is tried more seldom each time, until there is more or
// the link falls anew.
func TestAnEdgeThatWasNoneIsBelievedLess(t *testing.T) {
	const soon, most = 10 * time.Second, time.Minute
	var s Small
	for i, x := range []struct {
		passed, overshot, more bool
		want                   time.Duration
	}{
		{false, false, false, smallWait},
		{false, true, false, smallWait},
		{true, true, false, soon},
		{false, true, false, soon}, // the search that follows
		{true, true, false, 2 * soon},
		{true, true, false, 4 * soon},
		{true, true, false, most},
		{true, true, true, smallWait},
		{true, true, false, soon},
		{false, false, false, smallWait},
	} {
		s.Passed = x.passed
		if got := s.settle(x.overshot, x.more, soon, most); got != x.want {
			t.Errorf("step %d: the next small try is due in %v, want %v", i, got, x.want)
		}
	}
}

// Who was late of a small try that was too much by far is not late of the next: it goes to where the
// queue began, as how fast it grew tells.
func TestTheNextTryGoesToWhereTheQueueBegan(t *testing.T) {
	b, turn := fallenLink()
	b.Phase, b.Total, b.Search.Small.Good, b.Search.Raised = plan.Trying, 100*mbit, 97*mbit, t0.Add(-time.Second)
	session := &plan.Session{ID: "a", Vantage: "n2", Base: plan.Base{Known: true}}
	for i := range 60 { // for 0.2 s it grows by 2 % of the time
		queue := max(0, time.Duration(i-40)) * 5 * ms / 50
		session.Samples = append(session.Samples, plan.Sample{At: plan.At(t0.Add(time.Duration(i-60) * 5 * ms)), RTT: queue})
	}
	turn.Paths = []queue.Path{{Session: session}}
	w := &turn.Opinion.Worst
	w.Session, w.Base, w.Recent, turn.Opinion.Standing = session, session.Base, 2*ms, true
	turn.Load = senders.Load{Peak: 100 * mbit, Limits: 100 * mbit, Bound: true, More: true, Room: true, Streams: true, Seen: t0}
	turn.Decide(&b)
	if edge := b.Search.Small.Edge; b.Total != 97*mbit || edge < 98*mbit || edge > 99*mbit {
		t.Errorf("%v given out, and the next try goes to %v; want 97M, and what is 0.6 %% too much: 98.6M", b.Total, edge)
	}
}

// Who sends less for good does not pause: somebody may be held back by what it is promised, and what has come
// back is given out.
func TestWhoSendsLessForGoodDoesNotPause(t *testing.T) {
	b, turn := fallenLink()
	play(&b, &turn, 100*mbit, 10*time.Second)
	for end := turn.Now.Add(2 * config.ProbeEvery); turn.Now.Before(end); turn.Now = turn.Now.Add(100 * ms) {
		turn.Load.Peak, turn.Load.Limits, turn.Load.Seen = b.Total-45*mbit, b.Total, turn.Now // of a floor of 50M 5M are used
		turn.Opinion.Worst.Recent, turn.Opinion.Worst.Median = 0, 0
		turn.Decide(&b)
	}
	if b.Total < 180*mbit {
		t.Errorf("%v is given out for good, want what once fitted through", b.Total)
	}
}

// Where all have what they may have at most there is nothing to try for, and a try that came to that stays out:
// undone, it would be made again at once, and so on.
func TestATryEndsWhereAllHaveTheirCeiling(t *testing.T) {
	b, turn := fallenLink()
	changes := 0
	for range 600 {
		turn.Now = turn.Now.Add(100 * ms)
		turn.Load = senders.Load{Peak: b.Total, Limits: b.Total, Bound: true, More: b.Total < 98*mbit, Room: true, Streams: true, Seen: turn.Now}
		if turn.Decide(&b).Action != plan.Hold {
			changes++
		}
	}
	if changes > 4 {
		t.Errorf("%d changes in a minute, want those of one try: %v is given out, of 98M that may be", changes, b.Total)
	}
}
