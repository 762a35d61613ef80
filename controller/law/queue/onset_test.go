package queue

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The line of the way up, however flat or noisy it is, dates an onset between the last sample
// before the way up and the first one of it; also where packets are lost and none is late.
func TestAnOnsetIsWhereTheWayUpBegins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gaps := rapid.SliceOfN(rapid.Int64Range(0, int64(300*ms)), 1, 40).Draw(t, "gaps")
		most := rapid.SampledFrom([]time.Duration{10, time.Microsecond, ms, time.Second}).Draw(t, "most")
		ramp, at := make([]Delay, len(gaps)), t0
		for i, gap := range gaps {
			at = at.Add(time.Duration(gap))
			ramp[i] = Delay{at, time.Duration(rapid.Int64Range(-int64(most), int64(most)).Draw(t, "above"))}
		}
		window := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "window"))
		now := len(ramp) - len(After(ramp, at.Add(-window)))
		first := Foot(ramp, now+highest(ramp[now:]))
		began := Began(ramp, window)
		if began.After(ramp[first].At) && (first == 0 || ramp[first].At.After(ramp[first-1].At)) {
			t.Fatalf("%v after the first sample of the way up", began.Sub(ramp[first].At))
		}
		if first > 0 && !began.After(ramp[first-1].At) {
			t.Fatalf("%v before it began", ramp[first-1].At.Sub(began))
		}
	})
}
