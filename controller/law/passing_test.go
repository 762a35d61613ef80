package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// The first cut of an uplink that nothing is known of goes to what leaves it while three times as much comes to it.
func TestTheFirstCutGoesToWhatLeavesTheNode(t *testing.T) {
	for name, tt := range map[string]struct {
		out         bitrate.Rate // that leaves; 0: nobody tells
		limiter     plan.Limiter
		least, most bitrate.Rate // of the limits together, after the cut
	}{
		"agents tell":     {200 * mbit, plan.TokenBucket, 98 * mbit, 190 * mbit},
		"nobody tells":    {0, plan.TokenBucket, 299 * mbit, 300 * mbit},
		"all of it does":  {600 * mbit, plan.TokenBucket, 299 * mbit, 300 * mbit},
		"before Cilium's": {200 * mbit, plan.EDT, 299 * mbit, 400 * mbit}, // where it is counted before it waits
	} {
		s := newStage(t, jitter1ms, bitrate.Gbit, bitrate.Gbit)
		for i := range s.o.Senders {
			s.o.Senders[i].Limiter = tt.limiter
		}
		s.sending, s.out = 10*mbit, min(tt.out, 20*mbit)
		s.run(2 * time.Second)
		s.sending, s.delay, s.out = 300*mbit, 20*ms, tt.out
		for range 8 {
			if s.run(250 * ms); s.writes > 0 {
				break
			}
		}
		if sum := s.o.Senders[0].Limit + s.o.Senders[1].Limit; sum < tt.least || sum > tt.most {
			t.Errorf("%s: %v after the first cut, want %v to %v", name, sum, tt.least, tt.most)
		}
	}
}
