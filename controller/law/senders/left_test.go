package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// What leaves a node besides what its pods are let send is others'. Of who gets nothing of its limit nothing leaves; on
// several nodes, and where nobody tells, nothing is known.
func TestWhatOthersSendIsWhatLeavesTheNodeBesides(t *testing.T) {
	sends := func(l *Look, i int, tx bitrate.Rate) {
		for n := range 5 {
			at := plan.At(l.At.Add(time.Duration(n-4) * Window))
			l.All[i].Rates = append(l.All[i].Rates, plan.TxRate{At: at, Tx: tx * mbit, Out: 200 * mbit})
		}
	}
	for name, tt := range map[string]struct {
		change      func(*Look)
		out, others bitrate.Rate
	}{
		"both send what they are let":       {func(*Look) {}, 200, 50},
		"one is counted before its limiter": {func(l *Look) { l.All[1].Limit = 60 * mbit }, 200, 90},
		"and gets nothing of it": {func(l *Look) {
			l.All[1].Limit = 60 * mbit
			l.Uses[1].Offer.Steady, l.Uses[1].Offer.Above = true, l.At.Add(-time.Second)
		}, 200, 150},
		"others came a moment ago": {func(l *Look) {
			for i := range l.All {
				for n := range 3 {
					l.All[i].Rates[n].Out = 150 * mbit
				}
			}
		}, 200, 50},
		"others left for less than is looked at": {func(l *Look) {
			for i := range l.All {
				l.All[i].Rates[4].Out = 150 * mbit
			}
		}, 150, 50},
		"they are on two nodes": {func(l *Look) { l.All[1].Node = "n2" }, 0, 0},
		"nobody tells": {func(l *Look) {
			for i := range l.All {
				for n := range l.All[i].Rates {
					l.All[i].Rates[n].Out = 0
				}
			}
		}, 0, 0},
		"under BPF host routing":       {func(l *Look) { l.All[0].Limiter, l.All[1].Limiter = plan.EDTHostRouting, plan.EDTHostRouting }, 200, 50},
		"it is no limiter of Cilium's": {func(l *Look) { l.All[0].Limiter, l.All[1].Limiter = plan.TokenBucket, plan.TokenBucket }, 0, 0},
	} {
		l, members := offering(50, 100)
		l.awaited = make([]bool, 2)
		sends(&l, 0, 50)
		sends(&l, 1, 100)
		tt.change(&l)
		l.counts = []count{countOf(&l.All[0]), countOf(&l.All[1])}
		if load := l.Group(members).Load; load.Out != tt.out*mbit || load.Others != tt.others*mbit {
			t.Errorf("%s: %v leave, %v of others; want %v and %v", name, load.Out, load.Others, tt.out*mbit, tt.others*mbit)
		}
	}
}

// Full sockets go on at a low limit beside the one after it, once what waited before the change is gone; who slows down for
// the low one goes on at less. Under legacy host routing it is not known how much that is.
func TestWhatWaitsAtALowLimitGoesOn(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Look)
		want   bitrate.Rate
	}{
		"both are low":              {func(*Look) {}, 4 * mbit},
		"one waits for the other":   {func(l *Look) { l.Flushes[1].Over = false }, 2 * mbit},
		"one sends less":            {func(l *Look) { l.All[1].Rates[0].Tx = mbit }, 3 * mbit},
		"one is as it was":          {func(l *Look) { l.Flushes = l.Flushes[:1] }, 2 * mbit},
		"under legacy host routing": {func(l *Look) { l.All[0].Limiter, l.All[1].Limiter = plan.EDT, plan.EDT }, 0},
		"one was low just before":   {func(l *Look) { l.All[1].Rates[0].Tx = 4 * mbit }, 6 * mbit},
		"what left is counted, too": {func(l *Look) { l.All[1].Rates[0].Tx = 30 * mbit }, 4 * mbit},
	} {
		l, members := offering(50, 50)
		l.awaited = make([]bool, 2)
		for i := range l.All {
			l.All[i].Limiter, l.All[i].Limit = plan.EDTHostRouting, 2*mbit
			l.All[i].Rates = []plan.TxRate{{At: plan.At(l.At), Tx: 2 * mbit}}
			l.Flushes = append(l.Flushes, Flush{Pod: l.All[i].Pod, At: l.At.Add(-time.Second), Was: 50 * mbit, Over: true})
		}
		tt.change(&l)
		l.counts = []count{countOf(&l.All[0]), countOf(&l.All[1])}
		if got := l.Group(members).Load.Goes; got != tt.want {
			t.Errorf("%s: %v go on, want %v", name, got, tt.want)
		}
	}
}
