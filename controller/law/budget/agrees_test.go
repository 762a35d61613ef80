package budget

import (
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
)

// What went through a queue that overflowed is more than fits: that is no doubt about a
// capacity which the way up agrees with.
func TestWhatTheWayUpAgreesWithIsNotDoubted(t *testing.T) {
	turn, e := Turn{Opinion: &blame.Opinion{}}, episode{full: 240 * mbit}
	for slope, want := range map[float64]bool{0: true, 0.5: false, 0.25: true} { // of 300M: unclear, 200M and 240M
		if got := turn.doubtful(e, queue.Way{Slope: slope, Inflow: 300 * mbit}, 200*bitrate.Mbit); got != want {
			t.Errorf("at a slope of %v: doubtful %v, want %v", slope, got, want)
		}
	}
}
