package stats

import (
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
)

// far makes samples of a path of 0.1 ms whose far clock is off by offset, with a
// wait on the way there.
func far(offset, wait time.Duration) func(time.Duration) probe.Sample {
	noise := noiseBelow(5 * time.Microsecond)
	return func(time.Duration) probe.Sample {
		f, b := 50*time.Microsecond+wait+noise(), 50*time.Microsecond+noise()
		return probe.Sample{RTT: f + b, HasOneWay: true, Forward: f + offset, Backward: b - offset}
	}
}

// After a step of either clock the direction is right with the next packet, and
// no one-way figure ever exceeds what the round trip is above its base.
func TestClockStep(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"50 ms": 50 * ms, "back": -50 * ms, "1 ms": ms, "10 s": 10 * time.Second, "years": 5e4 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			s := New(50)
			feed(s, 0, 60*time.Second, far(0, 0))
			feed(s, 60*time.Second, 61*time.Second, far(step, 0))
			got := s.Summary()
			if got.ClockSteps != 1 || got.Forward.Max > 20*time.Microsecond || got.Backward.Max > 20*time.Microsecond {
				t.Errorf("%d steps, forward %v, backward %v", got.ClockSteps, got.Forward, got.Backward)
			}
			feed(s, 61*time.Second, 63*time.Second, far(step, 5*ms))
			got = s.Summary()
			if d := Direction(got, ms); d != OwnEgress || got.Forward.Max > got.RTT.Max-got.Base {
				t.Errorf("a wait after it: %s, forward %v, backward %v", d, got.Forward, got.Backward)
			}
		})
	}
}

// A queue is no step, whatever its direction, and neither is a drift.
func TestNoClockStep(t *testing.T) {
	s := New(50)
	feed(s, 0, 60*time.Second, far(0, 0))
	feed(s, 60*time.Second, 70*time.Second, far(0, 20*ms))
	feed(s, 70*time.Second, 80*time.Second, func(at time.Duration) probe.Sample {
		x := far(0, 20*ms)(at)
		x.Forward, x.Backward = x.Backward, x.Forward
		return x
	})
	if n := s.Summary().ClockSteps; n != 0 {
		t.Errorf("a queue was taken for %d steps", n)
	}
	drifting := New(50)
	feed(drifting, 0, 300*time.Second, func(at time.Duration) probe.Sample {
		return far(time.Duration(100e-6*float64(at)), 0)(at)
	})
	if got := drifting.Summary(); got.ClockSteps != 0 || got.Forward.P99 > 30*time.Microsecond {
		t.Errorf("a drift was taken for %d steps; forward %v", got.ClockSteps, got.Forward)
	}
}

// A session that begins in a queue learns the offset when it drains; nobody set
// a clock.
func TestBeginsInQueue(t *testing.T) {
	s := New(50)
	feed(s, 0, 2*time.Second, far(time.Hour, 20*ms))
	feed(s, 2*time.Second, 4*time.Second, far(time.Hour, 0))
	feed(s, 4*time.Second, 6*time.Second, far(time.Hour, 5*ms))
	if got := s.Summary(); got.ClockSteps > 1 || Direction(got, ms) != OwnEgress {
		t.Errorf("%d steps, %s, forward %v, backward %v", got.ClockSteps, Direction(got, ms), got.Forward, got.Backward)
	}
}
