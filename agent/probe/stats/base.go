package stats

import (
	"time"

	"github.com/detnet/detnet/agent/probe"
)

// base is the least round trip over a long window, in slices, with the detection
// of a route change. In the round trip a longer path and a full queue look alike,
// and neither varies; but a queue makes one direction later, and a path both. So a
// change is believed where both one-way delays rose too, as the controller has it.
// Where they are not known nobody here can tell, and the base stays what it was.
type base struct {
	slices  [baseSlices]slice
	number  int64 // of the newest slice
	started bool
	changes int
}

// slice is what one part of the window saw.
type slice struct {
	least, greatest time.Duration
	n               int
	// The least of each direction, clock offset included; of oneWay samples.
	forward, back time.Duration
	oneWay        int
}

func (s *slice) add(x *probe.Sample) {
	if s.n == 0 || x.RTT < s.least {
		s.least = x.RTT
	}
	s.greatest = max(s.greatest, x.RTT)
	s.n++
	if !x.HasOneWay {
		return
	}
	if s.oneWay == 0 {
		s.forward, s.back = x.Forward, x.Backward
	}
	s.forward, s.back = min(s.forward, x.Forward), min(s.back, x.Backward)
	s.oneWay++
}

const (
	baseSlice  = 10 * time.Second
	baseSlices = 60 // ten minutes
	// A change of route is believed when this many whole slices lie above the
	// base by more than stepLeast, each is narrower than a quarter of that step, and
	// each direction rose by a quarter of it or more.
	changeSlices = 3
	stepLeast    = 200 * time.Microsecond
	enough       = 20 // samples, for a slice to speak
)

// add takes one answered sample, and reports a change of route.
func (b *base) add(x *probe.Sample, at time.Duration) (changed bool) {
	number := int64(at / baseSlice)
	if !b.started {
		b.number, b.started = number, true
	}
	for ; b.number < number; b.number++ {
		changed = b.close() || changed
		b.slices[(b.number+1)%baseSlices] = slice{}
	}
	b.slices[b.number%baseSlices].add(x)
	return changed
}

// close looks back when the newest slice is complete. A longer path forgets
// the slices from before it.
func (b *base) close() bool {
	old, before := b.value(), b.slices[(b.number-changeSlices+baseSlices)%baseSlices]
	for i := range int64(changeSlices) {
		s := b.slices[(b.number-i+baseSlices)%baseSlices]
		step := s.least - old
		if s.n < enough || step < stepLeast || s.greatest-s.least > step/4 {
			return false
		}
		if s.oneWay < enough || before.oneWay < enough || s.forward-before.forward < step/4 || s.back-before.back < step/4 {
			return false
		}
	}
	for i := int64(changeSlices); i < baseSlices; i++ {
		b.slices[(b.number-i+baseSlices)%baseSlices] = slice{}
	}
	b.changes++
	return true
}

// value returns the least round trip; 0 before the first.
func (b *base) value() time.Duration {
	least := time.Duration(0)
	for _, s := range b.slices {
		if s.n > 0 && (least == 0 || s.least < least) {
			least = s.least
		}
	}
	return least
}
