package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// A limit that was made low for a change, and is to be no other after it, has been changed
// once what waited is gone; one that is to be raised waits for that.
func TestAChangeToTheLowLimitEnds(t *testing.T) {
	pod := plan.PodID{Namespace: "office", Name: "a"}
	for to, ends := range map[bitrate.Rate]bool{mbit: true, mbit + 50*bitrate.Kbit: true, mbit + 100*bitrate.Kbit: false} {
		known := []Flush{{Pod: pod, At: t0, Was: 5 * mbit, Low: mbit, To: to}}
		s := []plan.Sender{{Pod: pod, Limit: mbit}}
		for _, after := range []time.Duration{100 * ms, 3 * time.Second} {
			known = Feedback{}.flushed(known, s, make([]Use, 1), t0.Add(after))
			if gone := len(known) == 0; gone != (ends && after > time.Second) {
				t.Errorf("to %v, after %v: ended %v", to, after, gone)
			}
		}
	}
}

// Of who does not slow down no less is sent while its limit is low: what waited is gone when it can be.
func TestWhatWaitsOfWhoDoesNotSlowDownIsGoneSooner(t *testing.T) {
	pod := plan.PodID{Namespace: "office", Name: "a"}
	for name, tt := range map[string]struct {
		steady bool
		gone   time.Duration
		over   time.Duration
	}{
		"two seconds waited":       {true, plan.Horizon, plan.Horizon + 100*ms},
		"half a second waited":     {true, 500 * ms, 600 * ms},
		"nothing waited":           {true, 0, 300 * ms}, // writes take their time
		"it may slow down, of TCP": {false, 500 * ms, plan.Horizon + 200*ms},
	} {
		s := []plan.Sender{{Pod: pod, Limiter: plan.EDT, Limit: 1500 * bitrate.Kbit}}
		uses := []Use{{Pod: pod, Offer: Offer{Steady: tt.steady, Ahead: Ahead{Gone: t0.Add(tt.gone)}}}}
		known := []Flush{{Pod: pod, At: t0, Was: 50 * mbit, Low: 1500 * bitrate.Kbit, To: 80 * mbit}}
		f := Feedback{Pending: []Limit{{Pod: pod, At: t0}}}
		for after := time.Duration(0); len(known) == 1 && !known[0].Over; after += 100 * ms {
			if known = f.flushed(known, s, uses, t0.Add(after)); known[0].Over && after != tt.over {
				t.Errorf("%s: it is over after %v, want %v", name, after, tt.over)
			}
		}
	}
}

// Under BPF host routing what waits is its socket's, and another packet comes as one of it leaves: of who is seen to obey nothing more
// leaves at the old rate. Under legacy host routing it may wait although nothing comes, and is given some time.
func TestWhatWaitsInSocketsIsGoneAsItsSenderObeys(t *testing.T) {
	pod := plan.PodID{Namespace: "office", Name: "a"}
	low := 1500 * bitrate.Kbit
	for limiter, over := range map[plan.Limiter]time.Duration{plan.EDTHostRouting: 200 * ms, plan.EDT: 300 * ms} {
		known := []Flush{{Pod: pod, At: t0, Was: 50 * mbit, Low: 1500 * bitrate.Kbit, To: 80 * mbit}}
		f := Feedback{Pending: []Limit{{Pod: pod, Limit: low, At: t0}}}
		s := []plan.Sender{{Pod: pod, Limiter: limiter, Limit: low}}
		for after := 100 * ms; len(known) == 1 && !known[0].Over; after += 100 * ms {
			sent := 30 * mbit // partly of before
			if after > 100*ms {
				sent = low
			}
			s[0].Rates = append(s[0].Rates, plan.TxRate{At: plan.At(t0.Add(after)), Tx: sent})
			f = f.Observe(s, t0.Add(after))
			if known = f.flushed(known, s, make([]Use, 1), t0.Add(after)); known[0].Over && after != over {
				t.Errorf("%s: it is over after %v, want %v", limiter, after, over)
			}
		}
	}
}

// Where next to nothing leaves the node, as where nobody gets anything of its limit, what waits of who does not slow down is
// little. Else it may be flows so many that they get all of it.
func TestNothingIsWaitedForWhereNothingLeavesTheNode(t *testing.T) {
	steady := Offer{Steady: true, Now: 150 * mbit, Above: t0}
	for _, tt := range []struct {
		out, to bitrate.Rate
		offer   Offer
		waits   bool
	}{
		{3, 155, steady, false},
		{3, 10, steady, false},
		{3, 140, steady, true}, // it gets nothing of that either, but for a burst
		{48, 155, steady, true},
		{0, 155, steady, true},                 // nobody tells
		{3, 155, Offer{Now: 150 * mbit}, true}, // TCP
	} {
		s := plan.Sender{Limiter: plan.EDT, Limit: 48 * mbit, Rates: []plan.TxRate{{At: plan.At(t0), Tx: 150 * mbit, Out: tt.out * mbit}}}
		u := Use{Now: 150 * mbit, Offer: tt.offer}
		if got := u.Waits(&s, tt.to*mbit, false); got != tt.waits {
			t.Errorf("%v leave, to %vM: waits %v, want %v", tt.out*mbit, int64(tt.to), got, tt.waits)
		}
	}
}

// Of who gets all that it offers nothing waits, however near its limit that is.
func TestNothingWaitsOfWhoGetsAllThatItOffers(t *testing.T) {
	s := plan.Sender{Limiter: plan.EDT, Limit: 155 * mbit}
	for name, tt := range map[string]struct {
		offer Offer
		waits bool
	}{
		"all passes":             {Offer{Steady: true, Now: 150 * mbit}, false},
		"it offers more":         {Offer{Steady: true, Now: 180 * mbit, Above: t0}, true},
		"it offered more lately": {Offer{Steady: true, Now: 150 * mbit, Last: 160 * mbit}, true},
		"TCP, held back by it":   {Offer{Now: 154 * mbit}, true},
	} {
		u := Use{Now: 150 * mbit, Offer: tt.offer}
		if got := u.Waits(&s, 200*mbit, false); got != tt.waits {
			t.Errorf("%s: waits %v, want %v", name, got, tt.waits)
		}
	}
}

// What waits at a low limit goes on beside the limit after it, and is to fit into what is left free beside that.
func TestALowLimitIsLowBesideWhatComesAfterIt(t *testing.T) {
	for _, tt := range []struct {
		limiter      plan.Limiter
		was, to, low bitrate.Rate
	}{
		{plan.EDT, 100 * mbit, 200 * mbit, 3 * mbit},
		{plan.EDT, 200 * mbit, 100 * mbit, 3 * mbit},
		{plan.EDT, 12 * mbit, 9 * mbit, mbit},
		{plan.EDT, mbit, 9 * mbit, mbit},
		{plan.EDTHostRouting, 200 * mbit, 100 * mbit, 6 * mbit}, // what goes on is left free
	} {
		if got := Low(&plan.Sender{Limit: tt.was, Limiter: tt.limiter}, tt.to); got != tt.low {
			t.Errorf("from %v to %v by way of %v, want %v", tt.was, tt.to, got, tt.low)
		}
	}
}
