// Package clockstep is for tests of what happens when somebody sets the wall clock: it
// makes the readings of a clock that was set. Only tests import it.
package clockstep

import (
	"time"
	"unsafe"
)

// Set returns t as it would have been read had the wall clock been set by that much
// before, in whole seconds: the monotonic part stays, so what runs by it sees no
// difference. It panics for a t without a monotonic part, and where this Go keeps
// times otherwise.
func Set(t time.Time, by time.Duration) time.Time {
	set := t
	// wall is the first field: one bit for the monotonic part, seconds since 1885 in 33
	// bits, nanoseconds in 30.
	*(*uint64)(unsafe.Pointer(&set)) += uint64(by/time.Second) << 30
	if set.Sub(t) != 0 || set.Round(0).Sub(t.Round(0)) != by {
		panic("clockstep: the time has no monotonic part, or is kept in another way: " + t.String())
	}
	return set
}
