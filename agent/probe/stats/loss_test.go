package stats

import (
	"testing"

	"github.com/detnet/detnet/agent/probe"
)

// Runs of lost packets are told by their numbers, in whatever order they were
// given up.
func TestBursts(t *testing.T) {
	s := New(100)
	for _, number := range []uint32{0, 4, 8, 9, 1, 2, 3, 6, 5, 7} {
		lost := number >= 1 && number <= 3 || number == 5 || number == 6 || number == 9
		s.Add([]probe.Sample{{RTT: ms, Number: number, Lost: lost}}, 0)
	}
	if got := s.Summary().Bursts; got != (Bursts{Count: 3, Longest: 3}) {
		t.Errorf("%+v, want 3 runs, the longest of 3", got)
	}
}

// A packet that was said to be lost and came nevertheless is no lost one.
func TestCorrected(t *testing.T) {
	s := New(100)
	for n := range uint32(8) {
		s.Add([]probe.Sample{{RTT: ms, Number: n, Lost: n == 3}}, 0)
	}
	if got := s.Summary(); got.Lost != 1 || got.Samples != 8 {
		t.Fatalf("%d of %d lost", got.Lost, got.Samples)
	}
	s.Add([]probe.Sample{{RTT: 2 * ms, Number: 3, Corrected: true}}, 0)
	if got := s.Summary(); got.Lost != 0 || got.Samples != 8 || got.RTT.Max != 2*ms || got.Bursts.Count != 0 {
		t.Errorf("corrected: %d of %d lost, RTT %v", got.Lost, got.Samples, got.RTT)
	}
}

func TestMoments(t *testing.T) {
	s := New(100)
	s.Add(rtts(2*ms, 4*ms, 4*ms, 4*ms, 5*ms, 5*ms, 7*ms, 9*ms), 0)
	if got := s.Summary(); got.Mean != 5*ms || got.StdDev != 2*ms {
		t.Errorf("mean %v, standard deviation %v; want 5ms, 2ms", got.Mean, got.StdDev)
	}
}
