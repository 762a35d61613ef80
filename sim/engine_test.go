package sim

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

func TestLinkIsADropTailQueue(t *testing.T) {
	l := link{rate: 8 * bitrate.Mbit, limit: 3000} // 1 byte a µs
	first, ok := l.push(0, 1000)
	if !ok || first != time.Millisecond {
		t.Errorf("first packet leaves at %v, %v", first, ok)
	}
	second, ok := l.push(0, 1000)
	if !ok || second != 2*time.Millisecond {
		t.Errorf("second waits for the first: %v, %v", second, ok)
	}
	if _, ok := l.push(0, 1001); ok {
		t.Error("a packet was queued beyond the limit")
	}
	if _, ok := l.push(0, 100); !ok {
		t.Error("a small packet did not slip into the rest of the queue")
	}
	l.setRate(time.Millisecond, 4*bitrate.Mbit)
	if l.free != time.Millisecond+2200*time.Microsecond {
		t.Errorf("at half the rate the 1,100 bytes left are gone at %v", l.free)
	}
}

// A link of Linux's tbf lets a bucket pass at once, and no more until it has filled again.
func TestALinkLetsItsBurstPassAtOnce(t *testing.T) {
	l := link{rate: 8 * bitrate.Mbit, limit: 3000, burst: 2000} // 1 byte a µs
	const now = time.Second
	for i, want := range []time.Duration{now, now, now + time.Millisecond} {
		if out, ok := l.push(now, 1000); !ok || out != want {
			t.Errorf("packet %d leaves at %v, %v; want %v", i, out, ok, want)
		}
	}
}

func TestShaperHoldsItsRate(t *testing.T) {
	var c clock
	sent := 0
	s := shaper{clock: &c, segment: defaultSegment, rate: 24 * bitrate.Mbit, most: 1 << 20, out: func(time.Duration, time.Duration) { sent++ }}
	for range 200 {
		s.push(0, 0)
	}
	c.run(100 * time.Millisecond) // one segment each ms
	if sent < 100 || sent > 102 {
		t.Errorf("%d segments in 100 ms, want about 100", sent)
	}
	s.setRate(c.now, 240*bitrate.Mbit)
	c.run(105 * time.Millisecond)
	if sent < 145 || sent > 155 {
		t.Errorf("%d segments after 5 ms at ten times the rate, want about 150", sent)
	}
}

// A new limit while packets wait moves the wake-up; it does not add one that
// goes on for ever.
func TestANewLimitLeavesNoWakeBehind(t *testing.T) {
	var c clock
	s := shaper{clock: &c, segment: defaultSegment, rate: 24 * bitrate.Mbit, most: 1 << 20, out: func(time.Duration, time.Duration) {}}
	for range 300 {
		s.push(0, 0)
	}
	for range 100 {
		s.setRate(c.now, 24*bitrate.Mbit)
	}
	c.run(50 * time.Millisecond)
	before := c.seq
	c.run(150 * time.Millisecond)
	if woken := c.seq - before; woken > 110 { // a segment each ms
		t.Errorf("%d wake-ups for 100 packets after 100 new limits", woken)
	}
}
