package sim

import (
	"math"
	"time"
)

// tcpFlow is a greedy sender with the window of CUBIC (RFC 9438): slow start
// that ends when the round trip grows (HyStart, as Linux does it), a
// multiplicative decrease of 0.7 once a round trip, the cubic function of the
// time since or what Reno would have if that is more, and acknowledgements as
// the only clock. What is lost is found and sent again by its recovery.
type tcpFlow struct {
	s        *source
	id       int
	cwnd     float64 // segments
	ssthresh float64
	wmax     float64       // the window before the last decrease
	reno     float64       // the window that Reno would have (RFC 9438 §4.3)
	avoiding bool          // an epoch of congestion avoidance is on
	epoch    time.Duration // when it began
	origin   float64       // of the cubic function, which is there
	k        float64       // so many seconds later
	reduced  time.Duration // until when a mark says nothing new
	srtt     time.Duration
	rttvar   time.Duration
	least    time.Duration // round trip
	recovery
}

// Constants of CUBIC (RFC 9438 §4.1 and §4.3), for segments of two packets, a
// bound for the receive window, and the growth of the round trip that ends slow
// start.
const (
	cubicC    = 0.4 / 2
	cubicBeta = 0.7
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta) / 2
	maxWindow = 1500

	initialWindow = 5

	leastGrowth, mostGrowth = 4 * time.Millisecond, 16 * time.Millisecond
)

func newFlow(s *source, id int) *tcpFlow {
	return &tcpFlow{
		s: s, id: id, cwnd: initialWindow, ssthresh: maxWindow,
		srtt: 10 * time.Millisecond, rttvar: 5 * time.Millisecond, least: time.Hour,
	}
}

// start opens a connection, unless the last one is still at it.
func (f *tcpFlow) start(now time.Duration) {
	if f.inflight == 0 {
		f.cwnd, f.ssthresh, f.wmax, f.avoiding = initialWindow, maxWindow, 0, false
		f.recovery.forget()
	}
	f.push(now)
}

func (f *tcpFlow) push(now time.Duration) {
	for f.s.wants() && float64(f.inflight) < f.cwnd && f.s.limiter.room(f.id) {
		f.transmit(now)
	}
	f.arm()
}

// measure takes a round trip into account (RFC 6298 §2.3).
func (f *tcpFlow) measure(rtt time.Duration) {
	f.rttvar = (3*f.rttvar + (f.srtt - rtt).Abs()) / 4
	f.srtt, f.least = (7*f.srtt+rtt)/8, min(f.least, rtt)
}

// grow is what an acknowledgement does to the window.
func (f *tcpFlow) grow(now, rtt time.Duration) {
	switch {
	case !f.s.limiter.room(f.id): // it is not the window that holds it back (RFC 7661)
	case f.cwnd < f.ssthresh:
		f.cwnd++
		if rtt > f.least+min(max(f.least/8, leastGrowth), mostGrowth) {
			f.ssthresh, f.wmax = f.cwnd, f.cwnd
			f.avoid(now)
		}
	default:
		if !f.avoiding {
			f.avoid(now)
		}
		t := (now - f.epoch + f.srtt).Seconds() - f.k
		f.reno += renoAlpha / f.cwnd
		if target := max(cubicC*t*t*t+f.origin, f.reno); target > f.cwnd {
			f.cwnd += min((target-f.cwnd)/f.cwnd, 0.5)
		}
	}
	f.cwnd = min(f.cwnd, maxWindow)
}

// avoid begins an epoch of congestion avoidance.
func (f *tcpFlow) avoid(now time.Duration) {
	f.avoiding, f.epoch, f.reno = true, now, f.cwnd
	f.origin = max(f.wmax, f.cwnd)
	f.k = math.Cbrt((f.origin - f.cwnd) / cubicC)
}

// decrease is CUBIC's answer to congestion (RFC 9438 §4.6).
func (f *tcpFlow) decrease() {
	f.wmax = f.cwnd
	f.ssthresh = max(f.cwnd*cubicBeta, 1)
	f.avoiding = false
}

// marked answers a mark, once a round trip (RFC 3168 §6.1.2).
func (f *tcpFlow) marked(now time.Duration) {
	if f.phase != open || now < f.reduced {
		return
	}
	f.decrease()
	f.cwnd = f.ssthresh
	f.reduced = now + f.srtt
}
