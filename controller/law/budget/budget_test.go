package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

const (
	ms   = time.Millisecond
	mbit = bitrate.Mbit
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// config is that of production, as far as these tests look.
var config = Config{
	Drain: 120 * ms, MinCut: 0.04, MaxCut: 0.5, Settle: 0.97, Fruitless: 3, RaiseEvery: time.Second, RaiseStep: 0.02,
	MaxRaise: 0.3, ProbeEvery: 2 * time.Minute, MaxProbeEvery: 16 * time.Minute,
}

// Capacity that was lost may come back soon, and is tried for again sooner than
// more than ever was; each try that finds none doubles the wait.
func TestLostCapacityIsTriedForSoon(t *testing.T) {
	for _, tt := range []struct {
		name string
		best bitrate.Rate
		want []time.Duration
	}{
		{"lost", 200 * mbit, []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second}},
		{"never more", 100 * mbit, []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 16 * time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			turn := Turn{Config: config, Opinion: &Opinion{}}
			b := Budget{Link: Link{Known: true, Capacity: 100 * mbit, Best: tt.best, Measured: true}}
			for i, want := range tt.want {
				if turn.wait(&b, i > 0); b.Search.Wait != want {
					t.Errorf("after %d tries in vain the next is in %v, want %v", i, b.Search.Wait, want)
				}
			}
		})
	}
}

// Where the capacity is known, a short queue that does not grow is no sign of less
// of it: half of what is used would be far too much to take.
func TestAShortQueueAtAKnownCapacityIsCutGently(t *testing.T) {
	for _, tt := range []struct {
		queue    time.Duration
		slope    float64
		measured bool
		least    float64 // of the usage that is left
	}{{3 * ms, 0, true, 0.9}, {3 * ms, 0, false, 0.4}, {3 * ms, 0.5, true, 0.4}, {30 * ms, 0, true, 0.4}} {
		turn := Turn{Config: config, Now: t0, Opinion: &Opinion{}, Feedback: 300 * ms, Load: Load{Peak: 190 * mbit, Limits: 191 * mbit, Room: true}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Standing: true,
			Worst: sense.Reading{Low: tt.queue, Median: tt.queue, Recent: tt.queue, Slope: tt.slope, Session: &plan.Session{}, Base: plan.Base{Known: true}},
		}
		b := Budget{Total: 191 * mbit, Link: Link{Known: true, Capacity: 197 * mbit, Best: 197 * mbit, Measured: tt.measured}}
		turn.cut(&b, false)
		if left := float64(b.Total) / float64(190*mbit); left < tt.least || left > tt.least+0.1 {
			t.Errorf("%+v: %.2f of the usage is left, want about %v", tt, left, tt.least)
		}
	}
}
