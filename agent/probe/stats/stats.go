// Package stats turns a session's samples into the figures of the field: packet
// delay variation against the least delay (PDV, RFC 5481), inter-packet delay
// variation (IPDV, RFC 3393), the interarrival jitter of RFC 3550, the
// interquartile range, and the direction in which packets wait. It is pure, and
// what it keeps is bounded: 48 octets a sample of the window, and 4 kB.
package stats

import (
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/quantile"
)

// Quantiles of a set of durations, by nearest rank.
type Quantiles struct {
	Min, P50, P90, P95, P99, P999, Max time.Duration
}

// Summary is what a window of samples says.
type Summary struct {
	Samples, Lost int           // Lost of Samples were not answered
	RTT           Quantiles     // of the answered
	Mean, StdDev  time.Duration // of the RTT
	Bursts        Bursts
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
	ClockSteps        int       // likewise: one of the two clocks was set
}

// Bursts are the runs of packets that were lost one behind the other (RFC 3357).
type Bursts struct {
	Count   int
	Longest int // packets
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
		i, found := -1, false
		if sample.Corrected {
			i, found = s.given(sample.Number)
		}
		if !found {
			i = s.push()
		}
		s.ring[i] = sample
		if !sample.Lost {
			s.answered(i, now-sample.Age, !found)
		}
	}
}

// Clear empties the window. The base, the clocks' offset and the jitter stay.
func (s *Series) Clear() { s.first, s.count = 0, 0 }

// push makes room for a sample behind the newest.
func (s *Series) push() int {
	if s.count < len(s.ring) {
		s.count++
	} else if s.first++; s.first == len(s.ring) {
		s.first = 0
	}
	return (s.first + s.count - 1) % len(s.ring)
}

// given finds the place of the packet that was said to be lost. Those are near
// the end: what was overtaken by more packets is not looked for.
func (s *Series) given(number uint32) (int, bool) {
	const farthest = 4096
	for n := s.count - 1; n >= max(0, s.count-farthest); n-- {
		if i := (s.first + n) % len(s.ring); s.ring[i].Number == number && s.ring[i].Lost {
			return i, true
		}
	}
	return 0, false
}

// answered takes ring[i], sent at an instant, into what is kept beyond the window;
// inOrder says that it comes behind those before it.
func (s *Series) answered(i int, sent time.Duration, inOrder bool) {
	sample := s.ring[i]
	if s.base.add(&sample, sent) {
		s.clock = clock{steps: s.clock.steps} // another path, perhaps another asymmetry
	}
	if s.any && inOrder {
		s.jitter += (float64((sample.RTT - s.last).Abs()) - s.jitter) / 16
	}
	if inOrder {
		s.last, s.any = sample.RTT, true
	}
	if sample.HasOneWay {
		s.clock.add(sample, s.base.value(), sent)
		s.forward[i], s.backward[i] = s.clock.split(sample, s.base.value(), sent)
	}
}

// OneWay returns what packet number waited in each direction; false if nobody
// knows, or if it is no longer in the window.
func (s *Series) OneWay(number uint32) (forward, backward time.Duration, known bool) {
	for n := s.count - 1; n >= 0; n-- {
		if i := (s.first + n) % len(s.ring); s.ring[i].Number == number {
			return s.forward[i], s.backward[i], s.ring[i].HasOneWay
		}
	}
	return 0, 0, false
}

// Summary describes the window.
func (s *Series) Summary() Summary {
	out := Summary{Samples: s.count, Base: s.base.value(), Jitter: time.Duration(s.jitter),
		RouteChanges: s.base.changes, ClockSteps: s.clock.steps, Bursts: s.bursts()}
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
	out.Mean, out.StdDev = moments(s.scratch)
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
	return Quantiles{s.rank(0), s.rank(0.5), s.rank(0.9), s.rank(0.95), s.rank(0.99), s.rank(0.999), s.rank(1)}
}

// bursts finds the runs of lost packets. The ring has them where they were given
// up, so it is their numbers that tell who was next to whom.
func (s *Series) bursts() (b Bursts) {
	numbers := s.scratch[:0]
	for n := range s.count {
		if at := s.ring[(s.first+n)%len(s.ring)]; at.Lost {
			numbers = append(numbers, time.Duration(at.Number))
		}
	}
	slices.Sort(numbers)
	run := 0
	for i, number := range numbers {
		if i > 0 && number == numbers[i-1]+1 {
			run++
		} else {
			b.Count, run = b.Count+1, 1
		}
		b.Longest = max(b.Longest, run)
	}
	return b
}

// moments are the mean and the standard deviation of a population.
func moments(values []time.Duration) (mean, deviation time.Duration) {
	if len(values) == 0 {
		return 0, 0
	}
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
	}
	m := sum / float64(len(values))
	for _, v := range values {
		squares += (float64(v) - m) * (float64(v) - m)
	}
	return time.Duration(m), time.Duration(math.Sqrt(squares / float64(len(values))))
}

// rank returns the q-quantile of scratch, which is sorted.
func (s *Series) rank(q float64) time.Duration { return quantile.Of(s.scratch, q) }

func (q Quantiles) minus(d time.Duration) Quantiles {
	if q.Max == 0 {
		return q
	}
	return Quantiles{q.Min - d, q.P50 - d, q.P90 - d, q.P95 - d, q.P99 - d, q.P999 - d, q.Max - d}
}
