package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Agents whose host stands still measure over longer sub-windows, and over shorter ones
// after it: what was sent is what was sent, however it is divided.
func TestSubWindowsOfAnyLength(t *testing.T) {
	const ms, mbit = time.Millisecond, bitrate.Mbit
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// 100 Mbit/s for half a second, 40 Mbit/s for as long.
	sent := func(from, to time.Duration) bitrate.Rate {
		high := max(min(to, 500*ms)-from, 0)
		return bitrate.Rate((float64(high)*100 + float64(to-from-high)*40) / float64(to-from) * float64(mbit))
	}
	for name, ends := range map[string][]time.Duration{
		"regular": {100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms, 600 * ms, 700 * ms, 800 * ms, 900 * ms, 1000 * ms},
		"long":    {100 * ms, 200 * ms, 430 * ms, 500 * ms, 790 * ms, 1000 * ms},
		"short":   {100 * ms, 200 * ms, 390 * ms, 400 * ms, 500 * ms, 502 * ms, 600 * ms, 840 * ms, 850 * ms, 900 * ms, 1000 * ms},
	} {
		s := &plan.Sender{Limit: bitrate.Gbit}
		began := time.Duration(0)
		for _, end := range ends {
			s.Rates = append(s.Rates, plan.TxRate{At: plan.At(start.Add(end)), Tx: sent(began, end)})
			began = end
		}
		at := start.Add
		if _, got := MeanSum([]*plan.Sender{s}, at(200*ms), at(500*ms)); got < 99*mbit || got > 101*mbit {
			t.Errorf("%s: %v at first, want 100M", name, got)
		}
		if _, got := MeanSum([]*plan.Sender{s}, at(500*ms), at(1000*ms)); got < 39*mbit || got > 41*mbit {
			t.Errorf("%s: %v then, want 40M", name, got)
		}
		end := start.Add(ends[0])
		for _, w := range Sums([]*plan.Sender{s}, at(ends[1]), at(1000*ms)) {
			if !w.From.Equal(end) {
				t.Errorf("%s: a sum from %v on, after one to %v", name, w.From.Sub(start), end.Sub(start))
			}
			end = w.At
		}
	}
}

// After a pause all that came in at once counts.
func TestPeakOfAPause(t *testing.T) {
	s := plan.Sender{Rates: []plan.TxRate{{At: plan.At(t0), Tx: 80 * mbit}, {At: plan.At(t0.Add(900 * ms)), Tx: 20 * mbit}}}
	if now := t0.Add(time.Second); Peak(&s, now) != 20*mbit {
		t.Errorf("peak %v", Peak(&s, now))
	}
	s.Pause = time.Second
	if now := t0.Add(1500 * ms); Peak(&s, now) != 80*mbit || Peak(&s, now.Add(2*time.Second)) != 0 {
		t.Errorf("peak %v over a pause", Peak(&s, now))
	}
}
