package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// A limit that the API server shows a moment after it was written is not changed by way
// of next to nothing once more, and nobody stays at next to nothing.
func TestALimitGoesByWayOfLittleOnceThoughItIsShownLate(t *testing.T) {
	for behind := range 8 {
		s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
		s.behind = behind
		for i := range s.o.Senders {
			s.o.Senders[i].Limiter = plan.EDT
		}
		s.run(2 * time.Second)
		s.delay = 5 * ms
		s.run(750 * ms)
		s.delay = 0
		low := 0
		for range 80 {
			s.run(250 * ms)
			for _, f := range s.State.Adaptive.Flushes {
				if low++; f.Was < 10*mbit {
					t.Fatalf("%d steps late: a low limit is made lower: %+v", behind, f)
				}
			}
		}
		s.idle = func(int) bool { return true } // so that no more is tried
		s.run(12 * time.Second)                 // and who is idle lends
		if x := s.limits(); low == 0 || x[0] < 10 || x[1] < 10 || len(s.State.Adaptive.Flushes) > 0 {
			t.Errorf("%d steps late: limits %v at last, %+v", behind, x, s.State.Adaptive.Flushes)
		}
	}
}
