package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// sends is a sender after it was seen to send each of these for a second, under this limit.
func sends(limiter plan.Limiter, limit bitrate.Rate, mbits ...bitrate.Rate) (s plan.Sender, o Offer) {
	at := t0
	for _, sent := range mbits {
		for range 10 {
			at = at.Add(Window)
			s = plan.Sender{Limiter: limiter, Limit: limit, Rates: []plan.TxRate{{At: plan.At(at), Tx: sent * mbit}}}
			o.add(&s, at, minFeedback)
		}
	}
	return s, o
}

// Who sends more than its limit for two seconds does not slow down, before Cilium's limiter under
// legacy host routing; who keeps to a limit that is less than it sent does.
func TestWhoDoesNotSlowDown(t *testing.T) {
	for _, tt := range []struct {
		limiter plan.Limiter
		sent    []bitrate.Rate
		steady  bool
	}{
		{plan.EDT, []bitrate.Rate{150, 150, 150, 150, 150}, true},
		{plan.EDT, []bitrate.Rate{400, 400, 400}, true},
		{plan.EDT, []bitrate.Rate{110, 110, 110, 110, 110}, false}, // TCP may have so much waiting
		{plan.EDT, []bitrate.Rate{150}, false},
		{plan.EDT, []bitrate.Rate{150, 98, 150, 98, 150}, false},
		{plan.EDT, []bitrate.Rate{400, 400, 400, 0, 0}, true},
		{plan.EDT, []bitrate.Rate{400, 400, 400, 60, 60}, true},
		{plan.EDT, []bitrate.Rate{400, 400, 400, 98, 98}, false},
		{plan.EDTHostRouting, []bitrate.Rate{400, 150, 150}, false},
		{plan.TokenBucket, []bitrate.Rate{400, 150, 150}, false},
	} {
		if _, o := sends(tt.limiter, 100*mbit, tt.sent...); o.Steady != tt.steady {
			t.Errorf("%s, %v: %+v", tt.limiter, tt.sent, o)
		}
	}
}

// It is known as soon where reports of a second come, as they do while all is calm.
func TestWhoDoesNotSlowDownIsKnownByReportsOfASecond(t *testing.T) {
	var o Offer
	s := plan.Sender{Limiter: plan.EDT, Limit: 100 * mbit, Pause: time.Second}
	at := t0
	for n := 0; !o.Steady; n++ {
		if n > 6 {
			t.Fatalf("%v after it began to send half as much again as its limit: %+v", at.Sub(t0), o)
		}
		s.Rates = nil
		for range 10 {
			at = at.Add(Window)
			s.Rates = append(s.Rates, plan.TxRate{At: plan.At(at), Tx: 150 * mbit})
		}
		for step := range 10 { // of the law
			o.add(&s, at.Add(time.Duration(step)*Window), minFeedback)
		}
	}
}

// Of one that does not slow down next to nothing passes while its limit is below what it
// offers; what would be enough for one more of them is known.
func TestWhatPassesOfWhoDoesNotSlowDown(t *testing.T) {
	s, o := sends(plan.EDT, 97*mbit, 150, 150, 150, 150, 150)
	a, b := s, s
	a.Pod.Name, b.Pod.Name = "a", "b"
	l := Look{At: o.Above, Uses: []Use{{Pod: a.Pod, Now: 150 * mbit, Offer: o}, {Pod: b.Pod, Now: 150 * mbit, Offer: o}}}
	l.awaited = make([]bool, 2)
	l.All = []plan.Sender{a, b}
	if g := groupOf(&l, []int32{0, 1}); g.Load.Peak != 0 || g.Load.Lacks != 0 {
		t.Errorf("what two limits of 97M let through is %v, and %v are lacking for one of them to have 150M", g.Load.Peak, g.Load.Lacks)
	}
	l.All[0].Limit, l.All[1].Limit = 50*mbit, 50*mbit
	if got, want := groupOf(&l, []int32{0, 1}).Load.Lacks, Enough(150*mbit)-100*mbit+bitrate.Min; got != want {
		t.Errorf("two limits of 50M lack %v for one to have 150M, want %v", got, want)
	}
	if s.Rates[0].Tx != 150*mbit {
		t.Error("the observation was changed")
	}
	l.Uses[1].Offer = Offer{Above: o.Above} // it has just come
	if g := groupOf(&l, []int32{0, 1}); g.Load.InVain || !g.Load.Over {
		t.Errorf("%+v: want two that send more than their limits", g.Load)
	}
	l.Uses[1].Offer = Offer{} // it slows down, and keeps to its limit
	if g := groupOf(&l, []int32{0, 1}); g.Load.Over {
		t.Errorf("%+v: want one that keeps to its limit", g.Load)
	}
	if g := groupOf(&l, []int32{0, 1}); g.Load.Peak != 100*mbit || g.Load.Lacks != 0 {
		t.Errorf("beside one that slows down %v pass two limits of 50M, want both, and %v are lacking", g.Load.Peak, g.Load.Lacks)
	}
}

// Who gets all that it offers is not held back, however near that is to its limit: what others get nothing of counts
// for nothing beside it. While packets of a low limit wait it is coming back.
func TestWhoGetsAllThatItOffersIsNotHeldBack(t *testing.T) {
	lost, o := sends(plan.EDT, 79*mbit, 115, 115, 115, 115, 115, 115, 115, 115, 115)
	served := lost
	lost.Pod.Name, served.Pod.Name, served.Limit = "a", "b", 120*mbit
	through := Offer{Steady: true, Now: 115 * mbit}
	l := Look{At: o.Above, awaited: make([]bool, 2), All: []plan.Sender{lost, served}}
	l.Uses = []Use{{Pod: lost.Pod, Now: 79 * mbit, Offer: o}, {Pod: served.Pod, Now: 115 * mbit, Offer: through}}
	if g := groupOf(&l, []int32{0, 1}); !g.Load.InVain || g.Load.Resuming || g.Load.Peak != 115*mbit {
		t.Errorf("%+v: want 115M of the one that is served", g.Load)
	}
	l.Uses[1].Offer.Ahead.Gone = l.At.Add(time.Second)
	if g := groupOf(&l, []int32{0, 1}); !g.Load.Resuming {
		t.Errorf("%+v: want one that comes back", g.Load)
	}
}

// Who sends far less than it did slows down, also where that is more than its limit: the least that
// many flows of TCP send is more than a limit that is low for a change. And transfers that end sooner
// than they slow down do not add up.
func TestWhoSlowsDownToMoreThanItsLimit(t *testing.T) {
	for _, tt := range []struct {
		limit bitrate.Rate
		sent  []bitrate.Rate
	}{
		{bitrate.Mbit, []bitrate.Rate{80, 3, 3}},
		{100 * mbit, []bitrate.Rate{130, 130, 0, 130, 130, 0, 130, 130, 0, 130, 130, 0, 130, 130}},
	} {
		if _, o := sends(plan.EDT, tt.limit, tt.sent...); o.Steady {
			t.Errorf("under %v, %v: %+v", tt.limit, tt.sent, o)
		}
	}
}

// A limit is not heeded before it shows: before Cilium TCP sends on as before for a second and more.
func TestWhoDoesNotSlowDownIsNotJudgedBeforeALimitShows(t *testing.T) {
	const shows = time.Second
	var o Offer
	var since time.Duration
	for !o.Steady {
		if since += Window; since > 10*time.Second {
			t.Fatalf("%+v", o)
		}
		at := t0.Add(since)
		o.add(&plan.Sender{Limiter: plan.EDT, Limit: 100 * mbit, Rates: []plan.TxRate{{At: plan.At(at), Tx: 400 * mbit}}}, at, shows)
	}
	if since < steady+shows {
		t.Errorf("taken not to slow down %v after a limit that takes %v to show", since, shows)
	}
}

// Where no limit is in force nobody sends more than it, and nothing waits, whatever a limit may be at the most.
func TestACeilingThatIsNotInForceHoldsNobodyBack(t *testing.T) {
	var o Offer
	s := plan.Sender{Limiter: plan.EDT, Max: 100 * mbit}
	at := t0
	for range 40 {
		at = at.Add(Window)
		s.Rates = []plan.TxRate{{At: plan.At(at), Tx: 400 * mbit}}
		o.add(&s, at, minFeedback)
	}
	s.Limit = 100 * mbit
	o.add(&s, at.Add(1), minFeedback)
	if o.Steady || o.Ahead.Gone.After(at) {
		t.Errorf("%+v", o)
	}
}

// How long a limit takes to show is that of the whole cluster, also where a part of it is looked at alone.
func TestWhoDoesNotSlowDownIsJudgedInAPartAsInTheWhole(t *testing.T) {
	elsewhere := &plan.Elsewhere{Delays: []time.Duration{time.Second, time.Second, time.Second}}
	s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Limiter: plan.EDT, Limit: 100 * mbit}
	var uses []Use
	for n := time.Duration(0); n*Window <= steady+500*ms; n++ {
		at := t0.Add(n * Window)
		s.Rates = []plan.TxRate{{At: plan.At(at), Tx: 400 * mbit}}
		uses = Observe(uses, nil, Feedback{}, plan.Observation{At: at, Senders: []plan.Sender{s}}, elsewhere, ms).Uses
	}
	if uses[0].Offer.Steady {
		t.Errorf("%+v", uses[0].Offer)
	}
}

// groupOf is the group of some, who were counted to send what All says.
func groupOf(l *Look, members []int32) Group {
	l.counts = make([]count, len(l.All))
	for i := range l.All {
		l.counts[i] = countOf(&l.All[i])
	}
	return l.Group(members)
}
