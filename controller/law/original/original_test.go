package original

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

const ms = time.Millisecond

// The original looked at one probe each half second: fifty a second are
// thinned to the same window of ten seconds.
func TestAIMDThinsSamples(t *testing.T) {
	dense := make([]plan.Sample, 500)
	for i := range dense {
		dense[i] = plan.Sample{At: plan.At(time.Unix(0, 0).Add(time.Duration(i) * 20 * ms)), RTT: ms}
	}
	b := Baseline{}
	b.take(500*ms, dense)
	if len(b.Delays) != 20 {
		t.Errorf("10 s at 50 Hz gave %d samples, want 20", len(b.Delays))
	}
}

// Rows computed by hand from the originals' rules, where neither the quartiles
// nor the percentile fall on one of two values.
func TestInterquartileByHand(t *testing.T) {
	of := func(n int) (d []time.Duration) { // 1, 2, … n ms, the largest first
		for i := n; i > 0; i-- {
			d = append(d, time.Duration(i)*ms)
		}
		return d
	}
	for n, want := range map[int]time.Duration{ // sorted[⌊3n/4⌋] − sorted[⌊n/4⌋]
		0: 0, 4: 0, 5: 2 * ms, 6: 3 * ms, 7: 4 * ms, 8: 4 * ms, 19: 10 * ms, 20: 10 * ms,
	} {
		if got := interquartile(of(n)); got != want {
			t.Errorf("of %d: %v, want %v", n, got, want)
		}
	}
}
