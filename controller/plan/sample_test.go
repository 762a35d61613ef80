package plan

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FirstAt finds the first of samples from a time on, whether they are sent at even intervals or not.
func TestFirstAt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var samples []Sample
		at, pace := start, rapid.SampledFrom([]int{0, 1, 20, 20, 20, 1000}).Draw(t, "pace")
		for range rapid.IntRange(0, 300).Draw(t, "samples") {
			if rapid.IntRange(0, 30).Draw(t, "another pace") == 0 {
				pace = rapid.IntRange(0, 3000).Draw(t, "pace")
			}
			at = at.Add(time.Duration(pace) * time.Millisecond)
			samples = append(samples, Sample{At: At(at)})
		}
		from := At(start.Add(time.Duration(rapid.Int64Range(-1000, at.Sub(start).Milliseconds()+1000).Draw(t, "from")) * time.Millisecond))
		want := slices.IndexFunc(samples, func(s Sample) bool { return s.At.Compare(from) >= 0 })
		if want < 0 {
			want = len(samples)
		}
		if got := FirstAt(samples, from); got != want {
			t.Fatalf("the first of %d from %v on is the %d-th, want %d", len(samples), from, got, want)
		}
	})
}
