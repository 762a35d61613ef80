package sense

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// floor is a windowed minimum: of at least one epoch and at most two.
type floor struct {
	since     plan.Instant
	now, last time.Duration
}

// add takes in d, seen at a time, with epochs of the given length.
func (f *floor) add(at plan.Instant, d, epoch time.Duration) {
	switch {
	case f.since == 0:
		*f = floor{since: at, now: d, last: d}
	case at.Sub(f.since) >= epoch:
		*f = floor{since: at, now: d, last: f.now}
	default:
		f.now = min(f.now, d)
	}
}

// keep begins the epoch anew without forgetting anything.
func (f *floor) keep(at plan.Instant) {
	f.now, f.since = f.value(), at
}

func (f floor) value() time.Duration { return min(f.now, f.last) }
