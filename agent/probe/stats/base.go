package stats

import "time"

// base is the least round trip over a long window, in slices, with the
// detection of a route change: a queue that stands for that long is not known,
// a path that got longer is, and its packets vary as little as before.
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
}

const (
	baseSlice  = 10 * time.Second
	baseSlices = 60 // ten minutes
	// A change of route is believed when this many whole slices lie above the
	// base by more than stepLeast, and each is narrower than a quarter of that step.
	changeSlices = 3
	stepLeast    = 200 * time.Microsecond
	enough       = 20 // samples, for a slice to speak
)

// add takes one round trip, and reports a change of route.
func (b *base) add(rtt, at time.Duration) (changed bool) {
	number := int64(at / baseSlice)
	if !b.started {
		b.number, b.started = number, true
	}
	for ; b.number < number; b.number++ {
		changed = b.close() || changed
		b.slices[(b.number+1)%baseSlices] = slice{}
	}
	s := &b.slices[b.number%baseSlices]
	if s.n == 0 || rtt < s.least {
		s.least = rtt
	}
	s.greatest = max(s.greatest, rtt)
	s.n++
	return changed
}

// close looks back when the newest slice is complete. A longer path forgets
// the slices from before it.
func (b *base) close() bool {
	old := b.value()
	for i := range int64(changeSlices) {
		s := b.slices[(b.number-i+baseSlices)%baseSlices]
		step := s.least - old
		if s.n < enough || step < stepLeast || s.greatest-s.least > step/4 {
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
