package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// offering is pods before Cilium's limiter, under legacy host routing, that were seen to offer so much under no limit
// that matters.
func offering(mbits ...bitrate.Rate) (l Look, members []int32) {
	l.At = t0.Add(time.Second)
	for i, r := range mbits {
		pod := plan.PodID{Namespace: "office", Name: string(rune('a' + i))}
		l.All = append(l.All, plan.Sender{Pod: pod, Limiter: plan.EDT, Limit: 1000 * mbit, Min: 10 * mbit})
		l.Uses = append(l.Uses, Use{Pod: pod, Offer: Offer{Now: r * mbit, Seen: l.At}})
		members = append(members, int32(i))
	}
	return l, members
}

// As long as nobody is known to slow down for a limit, none is taken to.
func TestWhoIsNotKnownToSlowDownIsPresumedNotTo(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*Look)
		presumed bool
	}{
		"nothing is known":               {func(*Look) {}, true},
		"one slows down":                 {func(l *Look) { l.Uses[1].Offer.Heeds = true }, false},
		"one does that has fallen quiet": {func(l *Look) { l.Uses[1].Offer.Heeds, l.Uses[1].Quiet = true, l.At.Add(-idleAfter) }, true},
		"what the others send is not counted before a limiter like this": {func(l *Look) { l.Uses[0].Offer = Offer{} }, false},
	} {
		l, members := offering(150, 150)
		tt.change(&l)
		before := l.Uses
		l.Presume(members)
		if o := l.Uses[0].Offer; o.Steady != tt.presumed || o.Presumed != tt.presumed {
			t.Errorf("%s: %+v", name, o)
		}
		if before[0].Offer.Presumed {
			t.Fatalf("%s: what is remembered of the step before was changed", name)
		}
	}
}

// It is dropped of all as soon as one of them is seen to slow down, but for who is known not to.
func TestWhatIsPresumedIsDroppedAsOneSlowsDown(t *testing.T) {
	l, members := offering(150, 150, 150)
	l.Presume(members)
	l.Uses[2].Offer.Presumed = false // it was seen not to
	l.Reconsider(members)
	if !l.Uses[0].Offer.Steady {
		t.Fatal("dropped although nobody slows down")
	}
	for n, sent := range []bitrate.Rate{150, 60} { // under a limit of 10M
		at := l.At.Add(time.Duration(n+1) * Window)
		s := plan.Sender{Limiter: plan.EDT, Limit: 10 * mbit, Rates: []plan.TxRate{{At: plan.At(at), Tx: sent * mbit}}}
		l.Uses[1].Offer.add(&s, at, minFeedback)
		if o := l.Uses[1].Offer; o.Heeds != (n == 1) || o.Steady == (n == 1) {
			t.Fatalf("it sends %vM of 150M: %+v", sent, o)
		}
	}
	l.Reconsider(members)
	if l.Uses[0].Offer.Steady || l.Uses[0].Offer.Presumed || !l.Uses[2].Offer.Steady {
		t.Errorf("%+v", l.Uses)
	}
}

// Who is known not to slow down pauses where it sends less than half of what it did.
func TestWhoDoesNotSlowDownMayPause(t *testing.T) {
	if _, o := sends(plan.EDT, 100*mbit, 400, 400, 400, 60); !o.Steady || o.Heeds {
		t.Errorf("%+v", o)
	}
}

// What is left by a cut is to be all that one of those offers who get that, beside the floors of the others; who offers
// little has that as well, and is not the one.
func TestTheLeastThatLeavesOneAllThatItOffers(t *testing.T) {
	for name, tt := range map[string]struct {
		offers []bitrate.Rate
		change func(*Look)
		want   bitrate.Rate
	}{
		"of two as large":               {[]bitrate.Rate{150, 151}, func(*Look) {}, Enough(10*mbit + Enough(150*mbit))},
		"beside a small one":            {[]bitrate.Rate{150, 150, 40}, func(*Look) {}, Enough(10*mbit + Enough(40*mbit) + Enough(150*mbit))},
		"the least has it no more":      {[]bitrate.Rate{150, 160}, func(l *Look) { l.All[0].Limit = 10 * mbit }, Enough(10*mbit + Enough(160*mbit))},
		"the least is of a lower class": {[]bitrate.Rate{150, 160}, func(l *Look) { l.All[1].Rank = 1 }, Enough(10*mbit + Enough(160*mbit))},
		"nobody has":                    {[]bitrate.Rate{150, 160}, func(l *Look) { l.All[0].Limit, l.All[1].Limit = 10*mbit, 10*mbit }, 0},
		"one slows down":                {[]bitrate.Rate{150, 150}, func(l *Look) { l.Uses[0].Offer.Heeds = true }, 0},
	} {
		l, members := offering(tt.offers...)
		tt.change(&l)
		l.awaited = make([]bool, len(members))
		if got := groupOf(&l, members).Load.Whole; got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// Who is idle lends its floor, and is not one of those that share.
func TestWhoIsIdleIsNotReckonedWithAtAFirstCut(t *testing.T) {
	l, members := offering(150, 150, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for i := range l.All {
		l.All[i].Rates = []plan.TxRate{{At: plan.At(l.At), Tx: l.Uses[i].Offer.Now}}
		if l.Uses[i].Offer.Now == 0 {
			l.Uses[i].Quiet = l.At.Add(-idleAfter)
		}
	}
	if got, want := l.whole(members), Enough(10*mbit+Enough(12*mbit)+Enough(150*mbit)); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// Who has enough of its floor is served whoever else is, and whatever it is called.
func TestWhoHasEnoughOfItsFloorIsNotTheOne(t *testing.T) {
	for _, k := range []int{0, 1} {
		offers := []bitrate.Rate{150, 150}
		offers[k] = 90
		l, members := offering(offers...)
		l.All[k].Min = 100 * mbit
		if got, want := l.whole(members), Enough(100*mbit+Enough(150*mbit)); got != want {
			t.Errorf("the first offers %v: %v, want %v", offers[0], got, want)
		}
	}
}

// What was late while somebody came back is still looked at a moment later.
func TestWhoCameBackJustNowIsReckonedWith(t *testing.T) {
	for ago, want := range map[time.Duration]bool{looked - ms: true, looked: false} {
		l, members := offering(150)
		l.awaited = make([]bool, 1)
		l.Uses[0].Offer.Steady, l.Uses[0].Offer.Ahead.Gone = true, l.At.Add(-ago)
		if got := groupOf(&l, members).Load.Resuming; got != want {
			t.Errorf("%v ago: %v", ago, got)
		}
	}
}

// Many flows that do not slow down get all of any limit. So that one gets nothing is not presumed where nobody is seen to
// get all that it offers: the link would be taken to carry what it does not.
func TestThatNobodyGetsAnythingIsNotPresumed(t *testing.T) {
	for name, tt := range map[string]struct {
		first    bitrate.Rate // limit of one that offers 150M, beside one of 10M
		presumed bool
		vain     bool
	}{
		"presumed of both":             {40 * mbit, true, false},
		"of one, and the other has it": {160 * mbit, true, true},
		"known":                        {40 * mbit, false, true},
	} {
		l, members := offering(150, 150)
		for i, limit := range []bitrate.Rate{tt.first, 10 * mbit} {
			l.All[i].Limit = limit
			l.All[i].Rates = []plan.TxRate{{At: plan.At(l.At), Tx: 150 * mbit}}
			o := &l.Uses[i].Offer
			o.Steady, o.Presumed = true, tt.presumed
			if l.Uses[i].Now = min(limit, 150*mbit); limit < 150*mbit {
				o.Above = t0
			}
		}
		l.awaited = make([]bool, 2)
		if got := groupOf(&l, members).Load.InVain; got != tt.vain {
			t.Errorf("%s: %v", name, got)
		}
	}
}
