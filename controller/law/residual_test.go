package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// An app that answers a little sooner and a little later in turn, on purpose or because its
// host is busy at times, looks like a link that is full at times: what is tried for its sake
// makes nobody else late again and again.
func TestWhoIsQuieterNowAndThenDoesNotHaveMoreTriedForEachTime(t *testing.T) {
	s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
	s.run(2 * time.Second)
	s.learned()
	const lasting = 10 * time.Minute
	var late time.Duration
	for i := range int(lasting / (250 * ms)) {
		if s.delay = 0; i/32%2 == 0 { // 8 s each
			s.delay = 300 * time.Microsecond
		}
		var sent bitrate.Rate
		for _, x := range s.o.Senders {
			sent += min(x.Limit, s.sending)
		}
		if sent > 200*mbit {
			s.delay = 20 * ms
			late += 250 * ms
		}
		s.run(250 * ms)
	}
	if late > lasting/100 {
		t.Errorf("a queue for %v of %v", late, lasting)
	}
}
