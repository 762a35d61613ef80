package sim

import (
	"math"
	"time"
)

// tcpFlow is a greedy sender with the window of CUBIC (RFC 9438): slow start
// that ends when the round trip grows (HyStart, as Linux does it), a
// multiplicative decrease of 0.7 once a round trip, the cubic function of the
// time since or what Reno would have if that is more, and acknowledgements as
// the only clock. A loss that too few acknowledgements tell of is noticed by the
// retransmission timeout (RFC 6298), after which the window is one segment.
type tcpFlow struct {
	s        *source
	id       int
	cwnd     float64 // segments
	ssthresh float64
	inflight int
	wmax     float64
	reno     float64 // the window that Reno would have (RFC 9438 §4.3)
	epoch    time.Duration
	recovery time.Duration
	srtt     time.Duration
	least    time.Duration // round trip
	acks     int
	stalled  int  // lost segments that only the timeout will tell of
	timing   bool // the timeout is due
	backoff  int
}

// Constants of CUBIC (RFC 9438 §4.1 and §4.3), for segments of two packets, a
// bound for the receive window, and the growth of the round trip that ends slow
// start.
const (
	cubicC    = 0.4 / 2
	cubicBeta = 0.7
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta) / 2
	maxWindow = 1500

	duplicates = 2                      // segments after a lost one that tell of it: three packets (RFC 5681 §3.2)
	leastRTO   = 200 * time.Millisecond // Linux' TCP_RTO_MIN
	mostRTO    = time.Minute

	leastGrowth, mostGrowth = 4 * time.Millisecond, 16 * time.Millisecond
)

func newFlow(s *source, id int) *tcpFlow {
	return &tcpFlow{s: s, id: id, cwnd: 5, ssthresh: maxWindow, srtt: 10 * time.Millisecond, least: time.Hour}
}

// start opens a connection, unless the last one is still at it.
func (f *tcpFlow) start(now time.Duration) {
	if f.inflight == 0 {
		f.cwnd, f.ssthresh, f.wmax, f.epoch = 5, maxWindow, 0, now
	}
	f.push(now)
}

func (f *tcpFlow) push(now time.Duration) {
	for f.s.wants() && float64(f.inflight) < f.cwnd && f.s.limiter.room(f.id) {
		f.inflight++
		f.s.send(now, f.id)
	}
}

func (f *tcpFlow) acked(now, sent time.Duration) {
	f.inflight--
	f.acks, f.backoff = f.acks+1, 0
	rtt := now - sent
	f.srtt, f.least = (7*f.srtt+rtt)/8, min(f.least, rtt)
	switch {
	case !f.s.limiter.room(f.id): // it is not the window that holds it back (RFC 7661)
	case f.cwnd < f.ssthresh:
		f.cwnd++
		if rtt > f.least+min(max(f.least/8, leastGrowth), mostGrowth) {
			f.avoid(now)
			f.wmax = f.cwnd
		}
	default:
		k := math.Cbrt(max(f.wmax-f.ssthresh, 0) / cubicC)
		t := (now - f.epoch + f.srtt).Seconds() - k
		f.reno += renoAlpha / f.cwnd
		if target := max(cubicC*t*t*t+f.wmax, f.reno); target > f.cwnd {
			f.cwnd += min((target-f.cwnd)/f.cwnd, 0.5)
		}
	}
	f.cwnd = min(f.cwnd, maxWindow)
	f.push(now)
}

// avoid begins an epoch of congestion avoidance.
func (f *tcpFlow) avoid(now time.Duration) {
	f.ssthresh, f.epoch, f.reno = f.cwnd, now, f.cwnd
}

// lost is called a round trip after a segment was dropped, when so many had been
// acknowledged.
func (f *tcpFlow) lost(now time.Duration, acks int) {
	f.s.backlog += f.s.w.segment // to be sent again
	if f.acks-acks >= duplicates {
		f.inflight--
		f.reduce(now)
		f.push(now)
		return
	}
	f.stalled++
	if !f.timing {
		f.timing = true
		rto := min(max(leastRTO, 2*f.srtt)<<f.backoff, mostRTO)
		f.s.w.schedule(now+rto-f.srtt, f.s, timeout|f.id<<3, 0)
	}
}

// reduce answers a loss or a mark, once a round trip.
func (f *tcpFlow) reduce(now time.Duration) {
	if now < f.recovery {
		return
	}
	f.wmax = f.cwnd
	f.cwnd = max(f.cwnd*cubicBeta, 1)
	f.avoid(now)
	f.recovery = now + f.srtt
}

func (f *tcpFlow) timedOut(now time.Duration) {
	f.timing = false
	f.wmax, f.ssthresh, f.epoch = f.cwnd, max(f.cwnd*cubicBeta, 1), now
	f.cwnd = 1
	f.inflight -= f.stalled
	f.stalled = 0
	f.backoff = min(f.backoff+1, 8)
	f.push(now)
}
