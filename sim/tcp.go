package sim

import (
	"math"
	"time"
)

// tcpFlow is a greedy sender with the window of CUBIC (RFC 9438): slow start
// that ends when the round trip grows (HyStart, as Linux does it), a
// multiplicative decrease of 0.7 once a round trip, the cubic function of the
// time since or what Reno would have if that is more, and acknowledgements as
// the only clock. Retransmission is not modelled apart from the packet being
// sent again.
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
}

// Constants of CUBIC (RFC 9438 §4.1 and §4.3), for segments of two packets, a
// bound for the receive window, and the growth of the round trip that ends slow
// start.
const (
	cubicC    = 0.4 / 2
	cubicBeta = 0.7
	renoAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta) / 2
	maxWindow = 1500

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
	for f.s.rate > 0 && float64(f.inflight) < f.cwnd {
		f.inflight++
		f.s.send(now, f.id)
	}
}

func (f *tcpFlow) acked(now, sent time.Duration) {
	f.inflight--
	rtt := now - sent
	f.srtt, f.least = (7*f.srtt+rtt)/8, min(f.least, rtt)
	if f.cwnd < f.ssthresh {
		f.cwnd++
		if rtt > f.least+min(max(f.least/8, leastGrowth), mostGrowth) {
			f.avoid(now)
			f.wmax = f.cwnd
		}
	} else {
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

func (f *tcpFlow) lost(now time.Duration) {
	f.inflight--
	if now >= f.recovery {
		f.wmax = f.cwnd
		f.cwnd = max(f.cwnd*cubicBeta, 2)
		f.avoid(now)
		f.recovery = now + f.srtt
	}
	f.push(now)
}
