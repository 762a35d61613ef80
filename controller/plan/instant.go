package plan

import (
	"cmp"
	"time"
)

// Instant is a time.Time in eight octets and without a pointer: of what is measured there
// are hundreds of thousands, for which a time.Time would be half of the room and all that
// the garbage collector has to look at. It keeps the monotonic reading, and no time zone;
// the zero Instant is the zero Time. Years from 1900 to 2100 have one, and what is beyond is
// taken for the nearest that has. One with a monotonic
// reading and one without are compared by what the wall clock was as the program started.
type Instant int64

// started is what monotonic Instants count from.
var started = time.Now()

// At is t as an Instant.
func At(t time.Time) Instant {
	switch {
	case t.IsZero():
		return 0
	case t == t.Round(0): //nolint:staticcheck // not Equal: it has no monotonic reading
		if s := t.Unix(); s < earliest || s > latest {
			t = time.Unix(min(max(s, earliest), latest), 0)
		}
		return Instant((t.UnixNano() - epoch) << 1)
	}
	return Instant(t.Sub(started)<<1 | monotonic)
}

const (
	// monotonic marks an Instant that counts from started.
	monotonic = 1
	// epoch is what others count from, Unix time in ns: one that nobody has, as that one
	// has the zero Instant.
	epoch = -1
	// earliest and latest are 1900 and 2100, Unix time in s.
	earliest, latest = -2_208_988_800, 4_102_444_800
)

// Time is i as others have it.
func (i Instant) Time() time.Time {
	switch {
	case i == 0:
		return time.Time{}
	case i&monotonic == 0:
		return time.Unix(0, int64(i>>1)+epoch).UTC()
	}
	return started.Add(time.Duration(i >> 1))
}

// Compare is that of time.Time.
func (i Instant) Compare(j Instant) int {
	switch {
	case i == 0 || j == 0: // no other is as early
		return cmp.Compare(min(uint64(i), 1), min(uint64(j), 1))
	case (i^j)&monotonic == 0:
		return cmp.Compare(i, j)
	}
	return i.Time().Compare(j.Time())
}

// Add is the Instant d later.
func (i Instant) Add(d time.Duration) Instant {
	if i == 0 {
		return At(i.Time().Add(d))
	}
	return i + Instant(d)<<1
}

// Before reports whether i is before t.
func (i Instant) Before(t time.Time) bool { return i.Time().Before(t) }

// After reports whether i is after t.
func (i Instant) After(t time.Time) bool { return i.Time().After(t) }

// Sub is the time from j to i.
func (i Instant) Sub(j Instant) time.Duration {
	if (i^j)&monotonic == 0 && i != 0 && j != 0 {
		return time.Duration(i>>1 - j>>1)
	}
	return i.Time().Sub(j.Time())
}

// String is that of time.Time.
func (i Instant) String() string { return i.Time().String() }
