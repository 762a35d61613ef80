package senders

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// What waits under a limit has left by when it is said to be gone, whatever was sent, also where the next
// limit is in force only some time after it was seen.
func TestWhatWaitsIsGoneByThen(t *testing.T) {
	const shows = 200 * ms
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Custom(func(t *rapid.T) bitrate.Rate { return rate(t, "limit", 5, 200) })
		s := plan.Sender{Limiter: plan.EDT, Limit: limit.Draw(t, "first limit")}
		var a Ahead
		var late time.Duration // by what waits before the limiter, as Cilium computes it
		send := func(at time.Time, sent bitrate.Rate, lasting time.Duration) {
			late += time.Duration(float64(sent)/float64(s.Limit)*float64(lasting)) - lasting
			late = min(max(late, 0), plan.Horizon)
			s.Rates = []plan.TxRate{{At: plan.At(at), Tx: sent}}
		}
		at := t0
		a.add(&plan.Sender{Limiter: plan.EDT, Limit: s.Limit, Rates: []plan.TxRate{{At: plan.At(at)}}}, at, at, shows)
		for range rapid.IntRange(1, 30).Draw(t, "windows") {
			last := at
			at = at.Add(Window)
			send(at, rate(t, "sent", 0, 300), Window)
			a.add(&s, last, at, shows)
		}
		sent := s.Rates[0].Tx
		passed := time.Duration(rapid.Int64Range(0, int64(shows)).Draw(t, "until it is in force"))
		before := s.Limit
		s.Limit = limit.Filter(func(r bitrate.Rate) bool { return r != before }).Draw(t, "second limit")
		a.add(&s, at, at, shows)
		s.Limit = before
		send(at, sent, passed)
		if leaves := at.Add(passed + late); late > 0 && a.Gone.Before(leaves) {
			t.Fatalf("what waits leaves until %v, and is gone after %v: %+v", leaves.Sub(at), a.Gone.Sub(at), a)
		}
	})
}

// Under a limit that it keeps to nothing of a sender waits.
func TestNothingWaitsOfWhoSendsLess(t *testing.T) {
	_, o := sends(plan.EDT, 100*mbit, 300, 300, 300, 20, 20, 20, 20, 90)
	if o.Ahead.By != 0 || o.Ahead.Limit != 100*mbit {
		t.Errorf("%+v", o.Ahead)
	}
}

func rate(t *rapid.T, what string, least, most int64) bitrate.Rate {
	return bitrate.Rate(rapid.Int64Range(least, most).Draw(t, what)) * mbit
}

// What waits behind a limit goes on at that beside a higher one after it, until it has left.
func TestWhatWaitsGoesOnBesideAHigherLimit(t *testing.T) {
	a := Ahead{Was: mbit, Limit: 9 * mbit, Gone: t0.Add(time.Second)}
	lower := Ahead{Was: 12 * mbit, Limit: 9 * mbit, Gone: t0.Add(time.Second)}
	if now, later, cut := a.Beside(t0), a.Beside(t0.Add(time.Second)), lower.Beside(t0); now != mbit || later != 0 || cut != 0 {
		t.Errorf("%v goes on, %v once it is gone, %v after a cut", now, later, cut)
	}
}
