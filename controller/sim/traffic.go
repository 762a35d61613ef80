package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// segment is the unit of traffic: two full Ethernet packets, which is what a
// delayed acknowledgement acknowledges and far less than a queue holds.
const segment = 3000

// source is one pod that sends: its flows, its limiter and its counter.
type source struct {
	w       *world
	spec    SenderSpec
	shaper  shaper
	up      *link
	down    *link
	flows   []*tcpFlow
	rng     *rand.Rand
	rate    bitrate.Rate // offered now; greedy TCP ignores it
	ticking bool
	counted int // bytes since the last sub-window
	arrived int // bytes delivered, in all
	offered int
	patched time.Duration // when the newest limit takes effect
	seen    int           // of arrived, at the last sub-window
}

// Kinds of event that a source handles.
const (
	tick = iota
	atDownlink
	atReceiver
	ack
	loss
)

func (s *source) fire(now time.Duration, e event) {
	switch kind, flow := e.arg&7, e.arg>>3; kind {
	case tick:
		s.emit(now)
	case atDownlink:
		s.throughDownlink(now, flow, e.sent)
	case atReceiver:
		s.arrived += segment
		if s.flows != nil {
			s.w.schedule(now+s.w.scenario.Propagation, s, ack|flow<<3, e.sent)
		}
	case ack:
		s.flows[flow].acked(now, e.sent)
	case loss:
		s.flows[flow].lost(now)
	}
}

// setRate changes what the source offers; 0 is silence.
func (s *source) setRate(now time.Duration, rate bitrate.Rate) {
	s.rate = rate
	if rate == 0 {
		return
	}
	if s.spec.Kind == TCP {
		for _, f := range s.flows {
			f.start(now)
		}
		return
	}
	if !s.ticking {
		s.ticking = true
		s.w.schedule(now+time.Duration(s.rng.Float64()*float64(airtime(segment, rate))), s, tick, 0)
	}
}

// emit sends one UDP packet and plans the next.
func (s *source) emit(now time.Duration) {
	if s.rate == 0 {
		s.ticking = false
		return
	}
	s.send(now, 0)
	gap := float64(airtime(segment, s.rate)) * (0.8 + 0.4*s.rng.Float64())
	s.w.schedule(now+time.Duration(gap), s, tick, 0)
}

// send offers one packet of a flow to the limiter.
func (s *source) send(now time.Duration, flow int) {
	s.offered += segment
	if s.w.scenario.CountBefore {
		s.counted += segment
	}
	if !s.shaper.push(now, now<<3|time.Duration(flow)) {
		s.dropped(now, flow)
	}
}

// leave is called by the limiter: the packet is on its way to the uplink.
func (s *source) leave(now time.Duration, tag time.Duration) {
	flow, sent := int(tag&7), tag>>3
	if !s.w.scenario.CountBefore {
		s.counted += segment
	}
	out, ok := s.up.push(now, segment)
	if !ok {
		s.dropped(now, flow)
		return
	}
	if s.down == nil || s.down.rate == 0 {
		s.w.schedule(out+s.w.scenario.Propagation, s, atReceiver|flow<<3, sent)
		return
	}
	s.w.schedule(out+s.w.scenario.Propagation, s, atDownlink|flow<<3, sent)
}

func (s *source) throughDownlink(now time.Duration, flow int, sent time.Duration) {
	out, ok := s.down.push(now, segment)
	if !ok {
		s.dropped(now, flow)
		return
	}
	s.w.schedule(out, s, atReceiver|flow<<3, sent)
}

// dropped tells a TCP flow about a loss when its sender would notice.
func (s *source) dropped(now time.Duration, flow int) {
	if s.flows != nil {
		s.w.schedule(now+s.flows[flow].srtt, s, loss|flow<<3, 0)
	}
}

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
