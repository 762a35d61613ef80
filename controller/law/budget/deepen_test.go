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

// youngQueue is a budget of a link of 200M before which a queue has begun, and the turn that cuts for it, of
// what see shows: packets of each 10 ms between two times, in ms, as late as the queue was.
func youngQueue(used bitrate.Rate, delay func(at time.Duration) time.Duration) (b Budget, turn Turn, see func(from, to int)) {
	session := &plan.Session{ID: "a", Vantage: "n2", Base: plan.Base{Known: true}}
	see = func(from, to int) {
		for i := from; i <= to; i += 10 {
			at := time.Duration(i) * ms
			session.Samples = append(session.Samples, plan.Sample{At: plan.At(t0.Add(at)), RTT: max(0, delay(at))})
		}
	}
	b = Budget{Phase: plan.Settled, Total: 194 * mbit, Link: Link{Known: true, Measured: true, Capacity: 200 * mbit, Best: 200 * mbit}}
	turn = Turn{Config: config, Sense: sense.DefaultConfig(), Now: t0, Feedback: 300 * ms, Opinion: &blame.Opinion{}, Paths: []queue.Path{{Session: session}}}
	turn.Load = senders.Load{Peak: used, Limits: used, Bound: true, Room: true, Seen: t0, SeenFrom: t0.Add(-100 * ms)}
	v := turn.Opinion
	v.Allow, v.Soft, v.Standing, v.Worst.Session, v.Worst.Base = ms, ms/2, true, session, session.Base
	v.Worst.Recent, v.Worst.Slope = 3*ms, 0.1
	return b, turn, see
}

// A cut is made when three packets are late. What was sent before it and comes back after it tells
// how fast the queue grew: of a link that fell to half, that a cut to just below it leaves a second of queue.
func TestACutIsDeepenedOnceTheQueueTellsHowFastItGrew(t *testing.T) {
	// The link has had half of what it had for 70 ms.
	b, turn, see := youngQueue(194*mbit, func(at time.Duration) time.Duration { return at + 70*ms })
	v := turn.Opinion
	see(-150, -50)
	turn.Decide(&b)
	first := b.Total
	turn.Now = t0.Add(20 * ms)
	see(-40, -20)
	v.Blind = true // nothing was sent since it may show
	if r := turn.Decide(&b); r.Action != plan.Cut || b.Total > 60*mbit || b.Total >= first || b.Phase != plan.Cutting {
		t.Fatalf("%+v: %v after a first cut to %v; want less than 60M, which empties the queue of a link of 100M at once", r, b.Total, first)
	}
	deep := b
	turn.Now = t0.Add(40 * ms)
	see(-10, 10)
	if r := turn.Decide(&b); r.Action != plan.Hold || b.Total != deep.Total || !b.Link.EffectBy.Equal(deep.Link.EffectBy) {
		t.Errorf("%+v: %v, want one more cut and no second", r, b.Total)
	}
}

// cutOnce cuts for a young queue, and decides again after a while, of packets that have come back until then.
func cutOnce(feedback, after time.Duration, delay func(at time.Duration) time.Duration) (first, then bitrate.Rate) {
	b, turn, see := youngQueue(194*mbit, delay)
	turn.Feedback = feedback
	see(-150, -50)
	turn.Decide(&b)
	first = b.Total
	turn.Now = t0.Add(after)
	see(-40, int(after/ms)-20)
	turn.Opinion.Blind = true // nothing was sent since it may show
	turn.Decide(&b)
	return first, b.Total
}

// So it is at the first step after the cut where that is in force by then.
func TestACutThatIsInForceAtTheNextStepIsDeepened(t *testing.T) {
	first, then := cutOnce(100*ms, 100*ms, func(at time.Duration) time.Duration { return at + 70*ms })
	if then >= first || then > 60*mbit {
		t.Errorf("%v after a first cut to %v, want less than 60M", then, first)
	}
}

// The queue is taken to have grown until the first cut was in force, and not since: half of the link is deep enough for that.
func TestACutIsNotDeepenedForTheTimeInWhichItWasInForce(t *testing.T) {
	// Of 194M a link of 150M queues a third, from −70 ms until the cut is in force at 20 ms: 26 ms of it.
	first, then := cutOnce(20*ms, 120*ms, func(at time.Duration) time.Duration {
		return (min(at, 20*ms)+70*ms)*44/150 - max(at-20*ms, 0)/3
	})
	if then != first {
		t.Errorf("%v after a first cut to %v, which is enough for 26 ms of queue", then, first)
	}
}

// A queue is judged by the limits that were in force as it stood, not by those of the cut that was deepened:
// else a link that lost a seventh is taken to carry no more than the first cut let through.
func TestADeepenedCutSaysNothingOfWhatWentThroughBefore(t *testing.T) {
	sender := plan.Sender{Pod: plan.PodID{Name: "s"}, Node: "n1"}
	for i := -420; i <= 380; i += 100 {
		tx := 194 * mbit
		if i > 80 {
			tx = 92 * mbit
		}
		sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(t0.Add(time.Duration(i) * ms)), Tx: tx})
	}
	// Of 194M a link of 170M queues a seventh, from −70 ms until the cuts are in force at 80 ms.
	b, turn, see := youngQueue(194*mbit, func(at time.Duration) time.Duration {
		return (min(at, 80*ms)+70*ms)*24/170 - max(at-80*ms, 0)/2
	})
	turn.Senders = []*plan.Sender{&sender}
	v := turn.Opinion
	see(-150, -50)
	turn.Decide(&b)
	turn.Now, turn.Load.Limits = t0.Add(20*ms), b.Total // it is in force
	see(-40, -10)
	v.Blind = true
	if r := turn.Decide(&b); r.Action != plan.Cut {
		t.Fatalf("%+v, want a deeper cut", r)
	}
	turn.Now, turn.Load.Limits, turn.Load.Peak = t0.Add(400*ms), b.Total, b.Total
	see(0, 380)
	v.Blind, v.Standing, v.Worst.Recent, v.Worst.Slope = false, false, 0, 0
	if turn.Decide(&b); b.Phase != plan.Settled || b.Link.Capacity < 160*mbit || b.Link.Capacity > 175*mbit {
		t.Errorf("%s: %v is taken to fit through, want 170M", b.Phase, b.Link.Capacity)
	}
}

// Of limits that were overbooked it is not the link that was too little: how fast the queue grew says no more of it.
func TestACutOfOverbookedLimitsIsNotDeepened(t *testing.T) {
	// More is sent by now than was in the newest sub-window.
	b, turn, see := youngQueue(325*mbit, func(at time.Duration) time.Duration { return (at + 70*ms) * 3 / 4 })
	b.Search.Overbooked.By, turn.Load.Limits = 0.7, 329*mbit
	v := turn.Opinion
	see(-150, -50)
	if r := turn.Decide(&b); r.Action != plan.Cut || b.Phase != plan.Cutting {
		t.Fatalf("%+v, want a cut", r)
	}
	first := b.Total
	turn.Now = t0.Add(20 * ms)
	see(-40, -10)
	v.Blind = true
	if r := turn.Decide(&b); b.Total != first || b.Link.Capacity != 200*mbit {
		t.Errorf("%+v: %v of %v after %v, want the link to be what it was", r, b.Total, b.Link.Capacity, first)
	}
}

// What nothing was known of is cut to half of what is sent, or to a little less than all where the queue is still short.
// How fast it grew tells, a little later, what fits; where a change costs nothing less is let through, for the queue to leave.
func TestAFirstCutIsDeepenedOnceTheQueueTellsHowFastItGrew(t *testing.T) {
	for name, tt := range map[string]struct {
		slope         time.Duration // of the queue, in hundredths of a second a second
		short, stream bool
		first, want   bitrate.Rate
	}{
		"a queue of a half more than fits":  {slope: 50, stream: true, first: 150 * mbit, want: 120 * mbit},
		"which is before another limiter":   {slope: 50, first: 150 * mbit, want: 150 * mbit},
		"which is short at first":           {slope: 50, short: true, stream: true, first: 285 * mbit, want: 120 * mbit},
		"and short, before another limiter": {slope: 50, short: true, first: 285 * mbit, want: 285 * mbit},
		"a queue of a tenth more than fits": {slope: 10, stream: true, first: 150 * mbit, want: 150 * mbit},
		"a short one of next to no more":    {slope: 3, short: true, stream: true, first: 285 * mbit, want: 285 * mbit},
	} {
		b, turn, see := youngQueue(300*mbit, func(at time.Duration) time.Duration { return (at + 70*ms) * tt.slope / 100 })
		b.Phase, b.Total, b.Link = plan.Open, 2000*mbit, Link{}
		turn.Load.Limits, turn.Load.Bound, turn.Load.Streams = b.Total, false, tt.stream
		v := turn.Opinion
		if tt.short {
			v.Worst.Recent, v.Worst.Slope = 19*ms/10, 0.01
		}
		see(-150, -50)
		turn.Decide(&b)
		if first := (b.Total + mbit/2) / mbit * mbit; first != tt.first {
			t.Errorf("%s: %v at first, want %v", name, first, tt.first)
		}
		turn.Now = t0.Add(20 * ms)
		see(-40, -20)
		v.Blind = true
		turn.Decide(&b)
		if then := (b.Total + mbit/2) / mbit * mbit; then != tt.want {
			t.Errorf("%s: %v after a first cut to %v, want %v", name, then, tt.first, tt.want)
		}
	}
}

// What leaves the node while far more comes to its uplink is told a little after the cut: more than that does not fit.
func TestAFirstCutIsDeepenedOnceAgentsTellWhatLeavesTheNode(t *testing.T) {
	for name, tt := range map[string]struct {
		out         bitrate.Rate
		least, most bitrate.Rate
	}{
		"a third of what comes":       {200 * mbit, 99 * mbit, 190 * mbit},
		"most of it":                  {520 * mbit, 259 * mbit, 261 * mbit}, // below it, for the queue to leave
		"all, the queue is elsewhere": {600 * mbit, 300 * mbit, 300 * mbit},
	} {
		b, turn, see := youngQueue(600*mbit, func(time.Duration) time.Duration { return 40 * ms }) // it is at its limit
		b.Phase, b.Total, b.Link = plan.Open, bitrate.Gbit, Link{}
		sender := plan.Sender{Pod: plan.PodID{Name: "s"}, Node: "n1", Limiter: plan.TokenBucket}
		turn.Senders = []*plan.Sender{&sender}
		see(-150, -50)
		turn.Opinion.Worst.Recent = 40 * ms
		if turn.Decide(&b); b.Total != 300*mbit {
			t.Fatalf("%s: cut to %v, want half of what was sent", name, b.Total)
		}
		turn.Now, turn.Load.Seen = t0.Add(20*ms), t0
		turn.Told.Found = 50 * mbit // what is said of the link is for the cut itself
		for i := -400; i <= 0; i += 100 {
			sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(t0.Add(time.Duration(i) * ms)), Tx: 600 * mbit, Out: tt.out})
			if i < -100 { // it was calm
				sender.Rates[len(sender.Rates)-1].Tx, sender.Rates[len(sender.Rates)-1].Out = 50*mbit, 50*mbit
			}
		}
		if turn.Decide(&b); b.Total < tt.least || b.Total > tt.most {
			t.Errorf("%s: %v after that was told, want %v to %v", name, b.Total, tt.least, tt.most)
		}
		told := b.Total
		turn.Now = t0.Add(40 * ms)
		if turn.Decide(&b); b.Total != told {
			t.Errorf("%s: cut to %v once more before that has shown", name, b.Total)
		}
	}
}
