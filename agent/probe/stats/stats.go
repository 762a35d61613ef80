// Package stats turns a session's samples into the figures of the field: packet
// delay variation against the least delay (PDV, RFC 5481), inter-packet delay
// variation (IPDV, RFC 3393), the interarrival jitter of RFC 3550, the
// interquartile range, and the direction in which packets wait. It is pure, and
// what it keeps is bounded: 48 octets a sample of the window, and 3 kB.
package stats

import (
	"slices"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/quantile"
)

// Quantiles of a set of durations, by nearest rank.
type Quantiles struct {
	Min, P50, P90, P95, P99, Max time.Duration
}

// Summary is what a window of samples says.
type Summary struct {
	Samples, Lost int       // Lost of Samples were not answered
	RTT           Quantiles // of the answered
	Base          time.Duration
	PDV           Quantiles     // RTT − Base
	IPDV          Quantiles     // |RTT of one packet − RTT of the one before|
	Jitter        time.Duration // RFC 3550 §6.4.1, of the round trip; over the session, not the window
	IQR           time.Duration // of the RTT
	// Forward and Backward are the delays above the base of their own
	// direction, where the reflector gave timestamps (HasOneWay).
	HasOneWay         bool
	Forward, Backward Quantiles
	HasQueue          bool
	Queue             Quantiles // in this host's own queue
	RouteChanges      int       // since the session began
}

// Loss is the ratio of lost packets, 0…1.
func (s Summary) Loss() float64 {
	if s.Samples == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Samples)
}

// Series keeps the newest samples of one session.
type Series struct {
	ring   []probe.Sample
	first  int
	count  int
	base   base
	clock  clock
	jitter float64 // ns
	last   time.Duration
	any    bool
	// one-way delays above their base, in step with ring
	forward, backward []time.Duration
	scratch           []time.Duration
}

// New returns a Series of the newest window samples.
func New(window int) *Series {
	return &Series{
		ring:    make([]probe.Sample, window),
		forward: make([]time.Duration, window), backward: make([]time.Duration, window),
		scratch: make([]time.Duration, 0, window),
	}
}

// Add takes samples in the order of sending; now is any clock that does not
// step, from which their age counts back. It does not allocate.
func (s *Series) Add(samples []probe.Sample, now time.Duration) {
	for _, sample := range samples {
		at := s.first + s.count
		if s.count == len(s.ring) {
			s.first++
		} else {
			s.count++
		}
		i := at % len(s.ring)
		s.ring[i] = sample
		if sample.Lost {
			continue
		}
		sent := now - sample.Age
		if s.base.add(sample.RTT, sent) {
			s.clock = clock{} // another path, perhaps another asymmetry
		}
		if s.any {
			s.jitter += (float64((sample.RTT - s.last).Abs()) - s.jitter) / 16
		}
		s.last, s.any = sample.RTT, true
		if sample.HasOneWay {
			s.clock.add(sample, s.base.value(), sent)
			s.forward[i], s.backward[i] = s.clock.split(sample, s.base.value(), sent)
		}
	}
	s.first %= len(s.ring)
}

// Summary describes the window.
func (s *Series) Summary() Summary {
	out := Summary{Samples: s.count, Base: s.base.value(), Jitter: time.Duration(s.jitter), RouteChanges: s.base.changes}
	for i := range s.count {
		at := s.ring[(s.first+i)%len(s.ring)]
		if at.Lost {
			out.Lost++
		}
		out.HasOneWay = out.HasOneWay || at.HasOneWay
		out.HasQueue = out.HasQueue || at.HasQueue
	}
	out.RTT = s.quantiles(func(i int, x probe.Sample) (time.Duration, bool) { return x.RTT, true })
	out.IQR = s.rank(0.75) - s.rank(0.25)
	out.PDV = out.RTT.minus(out.Base)
	previous, any := time.Duration(0), false
	out.IPDV = s.quantiles(func(i int, x probe.Sample) (time.Duration, bool) {
		d, ok := (x.RTT - previous).Abs(), any
		previous, any = x.RTT, true
		return d, ok
	})
	if out.HasOneWay {
		out.Forward = s.quantiles(func(i int, x probe.Sample) (time.Duration, bool) { return s.forward[i], x.HasOneWay })
		out.Backward = s.quantiles(func(i int, x probe.Sample) (time.Duration, bool) { return s.backward[i], x.HasOneWay })
	}
	if out.HasQueue {
		out.Queue = s.quantiles(func(i int, x probe.Sample) (time.Duration, bool) { return x.Queue, x.HasQueue })
	}
	return out
}

// quantiles sorts what value gives of the answered samples into scratch.
func (s *Series) quantiles(value func(i int, x probe.Sample) (time.Duration, bool)) Quantiles {
	s.scratch = s.scratch[:0]
	for n := range s.count {
		i := (s.first + n) % len(s.ring)
		if s.ring[i].Lost {
			continue
		}
		if v, ok := value(i, s.ring[i]); ok {
			s.scratch = append(s.scratch, v)
		}
	}
	slices.Sort(s.scratch)
	return Quantiles{s.rank(0), s.rank(0.5), s.rank(0.9), s.rank(0.95), s.rank(0.99), s.rank(1)}
}

// rank returns the q-quantile of scratch, which is sorted.
func (s *Series) rank(q float64) time.Duration { return quantile.Of(s.scratch, q) }

func (q Quantiles) minus(d time.Duration) Quantiles {
	if q.Max == 0 {
		return q
	}
	return Quantiles{q.Min - d, q.P50 - d, q.P90 - d, q.P95 - d, q.P99 - d, q.Max - d}
}
