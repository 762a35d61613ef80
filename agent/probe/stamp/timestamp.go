package stamp

import "math/bits"

// Timestamp is 64 bits on the wire, in one of two formats; the Z bit of the
// packet's ErrorEstimate says which.
type Timestamp uint64

// ntpEpoch is 1970 in seconds since 1900 (RFC 5905 §6).
const ntpEpoch = 2_208_988_800

const nanosPerSecond = 1_000_000_000

// NTP is the NTP 64-bit format: seconds since 1900 and a binary fraction. unix
// is in nanoseconds since 1970.
func NTP(unix int64) Timestamp {
	seconds, nanos := uint64(unix/nanosPerSecond)+ntpEpoch, uint64(unix%nanosPerSecond)
	fraction, _ := bits.Div64(nanos>>32, nanos<<32, nanosPerSecond)
	return Timestamp(seconds<<32 | fraction)
}

// PTP is the truncated PTPv2 format: seconds since 1970 and nanoseconds.
func PTP(unix int64) Timestamp {
	return Timestamp(uint64(unix/nanosPerSecond)<<32 | uint64(unix%nanosPerSecond))
}

// In encodes unix, in nanoseconds since 1970, in the format that e announces.
func (e ErrorEstimate) In(unix int64) Timestamp {
	if e.IsPTP() {
		return PTP(unix)
	}
	return NTP(unix)
}

// Unix decodes t, which came with e, into nanoseconds since 1970. NTP's era
// that began in 2036 is recognised until 2104.
func (t Timestamp) Unix(e ErrorEstimate) int64 {
	seconds, low := int64(t>>32), uint64(t&0xffffffff)
	if e.IsPTP() {
		return seconds*nanosPerSecond + int64(low)
	}
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	nanos := (low*nanosPerSecond + 1<<31) >> 32 // rounded: NTP cannot say every nanosecond
	return (seconds-ntpEpoch)*nanosPerSecond + int64(nanos)
}

// ErrorEstimate is the quality of a clock.
type ErrorEstimate uint16

const (
	flagS ErrorEstimate = 1 << 15
	flagZ ErrorEstimate = 1 << 14
)

// Estimate says that a clock is within error seconds × 2^-32, whether it is
// synchronised to an external source, and how its timestamps are written. The
// error is rounded up to what the field can say, and is never 0.
func Estimate(error uint64, synchronised, ptp bool) ErrorEstimate {
	scale := max(0, bits.Len64(error)-8)
	multiplier := error >> scale
	if multiplier<<scale < error {
		multiplier++
	}
	if multiplier > 0xff {
		multiplier, scale = multiplier>>1, scale+1
	}
	e := ErrorEstimate(scale)<<8 | ErrorEstimate(max(multiplier, 1))
	if synchronised {
		e |= flagS
	}
	if ptp {
		e |= flagZ
	}
	return e
}

// IsPTP reports whether timestamps are in the PTPv2 format.
func (e ErrorEstimate) IsPTP() bool { return e&flagZ != 0 }
