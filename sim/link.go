package sim

import (
	"math/rand/v2"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Discipline is what a link does with more than it can send.
type Discipline string

// The disciplines. DropTail is a FIFO that drops what it has no place for. Policer
// is a token bucket (RFC 2697 with one bucket) without a queue: what comes while the
// bucket is in debt is dropped, whatever its size. AQM drops at random, from never at
// Hold[0] of delay to always at Hold[1] (RED's ramp, on the delay of now as in PIE,
// RFC 8033). ECN is AQM that marks what carries traffic and drops nothing (RFC 3168).
// FairQueue lets small packets pass what waits, as fq_codel does for new flows (RFC 8290).
const (
	DropTail  Discipline = ""
	Policer   Discipline = "policer"
	AQM       Discipline = "aqm"
	ECN       Discipline = "ecn"
	FairQueue Discipline = "fq"
)

// sparse is the size below which a fair queue takes a packet for one of a flow that
// hardly sends.
const sparse = 500

// link is a wire of a rate and what is before it. When a packet leaves is known when
// it arrives, so no event is needed in between.
type link struct {
	rate       bitrate.Rate // 0: no limit, no queue
	limit      int          // bytes of the queue or of the bucket
	burst      int          // bytes that pass at once after a pause, of a drop-tail link
	discipline Discipline
	hold       [2]time.Duration // of an AQM
	rng        *rand.Rand       // of an AQM
	free       time.Duration
	came       int // octets, in all
	lost       int // of those
	told       int // of what left, by the newest sub-window
}

// left is how many octets have left the node by a time: where the queue is the node's own,
// those that have passed it, else all that came to it.
func (l *link) left(now time.Duration, own bool) int {
	if !own || l.rate == 0 {
		return l.came
	}
	return l.came - l.lost - int(max(l.free-now, 0).Seconds()*float64(l.rate)/8)
}

// push takes size bytes and returns when the last of them has left, or false
// if they are dropped.
func (l *link) push(now time.Duration, size int) (out time.Duration, passes bool) {
	l.came += size
	if out, passes = l.take(now, size); !passes {
		l.lost += size
	}
	return out, passes
}

func (l *link) take(now time.Duration, size int) (time.Duration, bool) {
	if l.rate == 0 {
		return now, true
	}
	wait := max(l.free-now, 0)
	if backlog := int(wait.Seconds() * float64(l.rate) / 8); l.discipline == Policer {
		if backlog >= l.limit {
			return 0, false
		}
	} else if backlog+size > l.limit {
		return 0, false
	}
	switch l.discipline {
	case Policer:
		l.free = now + wait + airtime(size, l.rate)
		return now, true
	case AQM:
		if l.rng.Float64() < l.pressure(wait) {
			return 0, false
		}
	case FairQueue:
		if size < sparse {
			return now + min(wait, airtime(defaultSegment, l.rate)) + airtime(size, l.rate), true
		}
	}
	l.free = max(l.free, now-airtime(l.burst, l.rate)) + airtime(size, l.rate)
	return max(l.free, now), true
}

// marks reports whether a packet that comes now is told of congestion.
func (l *link) marks(now time.Duration) bool {
	return l.discipline == ECN && l.rng.Float64() < l.pressure(l.free-now)
}

func (l *link) pressure(wait time.Duration) float64 {
	return float64(wait-l.hold[0]) / float64(l.hold[1]-l.hold[0])
}

// setRate changes the capacity; what is queued takes longer or shorter.
func (l *link) setRate(now time.Duration, rate bitrate.Rate) {
	if wait := l.free - now; wait > 0 && rate > 0 {
		l.free = now + time.Duration(float64(wait)*float64(l.rate)/float64(rate))
	}
	l.rate = rate
}
