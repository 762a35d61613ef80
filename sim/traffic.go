package sim

import (
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
	waiting int           // bytes in the limiter then
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
