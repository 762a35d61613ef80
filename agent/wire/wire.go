// Package wire packs samples and usage into the columns of agent/api, and reads them
// back: a calm session of 50 packets a second takes some 200 octets a second, a
// twentieth of what it takes in full. Times of sending are rounded to 250 µs, delays
// to 1 µs and rates to 1 kbit/s.
package wire

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/detnet/detnet/agent/api"
)

// What figures are rounded to.
const (
	Tick  = 250 * time.Microsecond // times of sending
	Exact = time.Microsecond       // delays
	kilo  = 1000                   // rates, bit/s
)

// Sample is one probe packet.
type Sample struct {
	Age               time.Duration // since it was sent
	RTT               time.Duration
	Forward, Backward time.Duration // where HasOneWay
	Lost, HasOneWay   bool
}

// longest is the greatest age and delay that is packed.
const longest = time.Minute

// Pack writes samples, which are in the order of sending, into r. It reports false,
// and writes nothing, where they can't be said so: delays there and back that are
// not the round trip, or figures out of range.
func Pack(r *api.PackedSession, samples []Sample) bool {
	oneWay, least, ok := look(samples)
	if !ok {
		return false
	}
	n := len(samples)
	if n == 0 {
		return true
	}
	columns := make([]uint32, 3*n)
	r.Gap, r.RttUs = columns[:n:n], columns[n:2*n:2*n]
	if oneWay {
		r.ForwardUs = columns[2*n:]
	}
	r.RttLeastUs, r.ForwardLeastUs = uint64(least.RTT/Exact), int64(least.Forward/Exact)
	before := int64(0)
	for i, s := range samples {
		at := int64((s.Age + Tick/2) / Tick)
		r.Gap[i] = uint32(at)
		if i > 0 {
			r.Gap[i] = uint32(max(before-at, 0))
			at = before - int64(r.Gap[i])
		}
		before = at
		if s.Lost {
			continue
		}
		r.RttUs[i] = 1 + uint32(s.RTT.Round(Exact)/Exact-least.RTT/Exact)
		if oneWay {
			r.ForwardUs[i] = uint32(s.Forward.Round(Exact)/Exact - least.Forward/Exact)
		}
	}
	return true
}

// look finds the least delays, rounded, and whether all samples can be packed.
func look(samples []Sample) (oneWay bool, least Sample, ok bool) {
	first, all := true, true
	for _, s := range samples {
		if s.Age < 0 || s.Age > longest {
			return false, least, false
		}
		if s.Lost {
			continue
		}
		if s.RTT < 0 || s.RTT > longest {
			return false, least, false
		}
		if s.HasOneWay && (s.Forward+s.Backward-s.RTT).Abs() > Exact {
			return false, least, false
		}
		if first {
			least = s
		}
		least.RTT, least.Forward = min(least.RTT, s.RTT), min(least.Forward, s.Forward)
		oneWay, all, first = oneWay || s.HasOneWay, all && s.HasOneWay, false
	}
	if oneWay {
		if !all {
			return false, least, false // only some have it
		}
		for _, s := range samples {
			if !s.Lost && s.Forward-least.Forward > longest {
				return false, least, false // a clock was set
			}
		}
	}
	least.RTT, least.Forward = least.RTT.Round(Exact), least.Forward.Round(Exact)
	return oneWay, least, true
}

var errColumns = errors.New("columns of unequal length")

// Samples reads what Pack wrote, and calls each with its place. Ages are not
// negative.
func Samples(r *api.PackedSession, each func(int, Sample)) error {
	n := len(r.GetGap())
	forward := r.GetForwardUs()
	if len(r.GetRttUs()) != n || len(forward) != 0 && len(forward) != n {
		return fmt.Errorf("session %d: %w", r.GetNumber(), errColumns)
	}
	var at int64
	for i, gap := range r.GetGap() {
		if i == 0 {
			at = int64(gap)
		} else {
			at = max(at-int64(gap), 0)
		}
		s := Sample{Age: time.Duration(at) * Tick}
		if above := r.GetRttUs()[i]; above == 0 {
			s.Lost = true
		} else {
			s.RTT = bounded(r.GetRttLeastUs()) + time.Duration(above-1)*Exact
			if len(forward) > 0 {
				s.HasOneWay = true
				s.Forward = clock(r.GetForwardLeastUs()) + time.Duration(forward[i])*Exact
				s.Backward = s.RTT - s.Forward
			}
		}
		each(i, s)
	}
	return nil
}

// bounded keeps what an agent claims from overflowing.
func bounded(us uint64) time.Duration { return time.Duration(min(us, uint64(longest/Exact))) * Exact }

// clock is a one-way delay, which has the difference of two clocks in it.
func clock(us int64) time.Duration {
	const far = math.MaxInt64 / int64(Exact) / 4
	return time.Duration(min(max(us, -far), far)) * Exact
}
