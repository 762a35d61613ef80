package scene

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// A reading that comes late makes the next span short: its rate is far off, and
// counts only for as long as it lasted.
func TestRateIsBytesOverTime(t *testing.T) {
	sample := func(span time.Duration, rate bitrate.Rate) Sample {
		return Sample{Span: span, Senders: []SenderTick{{Goodput: rate * bitrate.Mbit}}}
	}
	samples := []Sample{sample(399*time.Millisecond, 100), sample(time.Millisecond, 18_000), sample(200*time.Millisecond, 100)}
	// 39.9 + 18 + 20 Mbit in 600 ms; the mean of the rates is 6,067 Mbit/s.
	if got := Rate(samples, 0); got < 129*bitrate.Mbit || got > 130*bitrate.Mbit {
		t.Errorf("%v, want 129.8M", got)
	}
	if got := Rate(nil, 0); got != 0 {
		t.Errorf("%v of no time", got)
	}
}
