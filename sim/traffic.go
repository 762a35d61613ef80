package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// defaultSegment is the unit of traffic in bytes: two full Ethernet packets, which is
// what a delayed acknowledgement acknowledges and far less than a queue holds.
const defaultSegment = 3000

// source is one pod that sends: its flows, its limiter and its counter.
type source struct {
	w       *world
	spec    SenderSpec
	limiter limiter
	up      *link
	down    *link
	flows   []*tcpFlow
	rng     *rand.Rand
	rate    bitrate.Rate // offered now; greedy TCP ignores it
	ticking bool
	counted int // bytes since the last sub-window
	arrived int // bytes delivered, in all
	offered int
	turn    int           // flow of the next packet, of UDP
	patched time.Duration // when the newest limit takes effect
	seen    int           // of arrived, at the last sub-window
	waiting int           // bytes in the limiter then
	backlog int           // bytes of transfers that are yet to be sent
}

// Kinds of event that a source handles.
const (
	tick = iota
	atDownlink
	atReceiver
	ack
	mark
	timer
	arrive
)

func (s *source) fire(now time.Duration, e event) {
	switch kind, flow := e.arg&7, e.arg>>3; kind {
	case tick:
		s.emit(now)
	case atDownlink:
		s.throughDownlink(now, flow, e.sent)
	case atReceiver:
		s.arrived += s.w.segment
		if s.flows != nil {
			s.w.schedule(now+s.w.scenario.Propagation, s, ack|flow<<3, e.sent)
		}
	case ack:
		s.flows[flow].acked(now, int(e.sent))
	case mark:
		s.flows[flow].marked(now)
	case timer:
		s.flows[flow].ranOut(now)
	case arrive:
		s.transfer(now)
	}
}

// transfer adds one to what is to be sent, and plans the next: arrivals are a Poisson
// process, sizes Pareto's with the shape 1.5, at most a hundred times the mean.
func (s *source) transfer(now time.Duration) {
	t := s.spec.Transfers
	s.w.schedule(now+time.Duration(s.rng.ExpFloat64()*float64(t.Every)), s, arrive, 0)
	if s.rate == 0 {
		return
	}
	size := float64(t.Size) / 3 / math.Pow(1-s.rng.Float64(), 1/1.5)
	s.backlog += int(min(size, 100*float64(t.Size)))
	s.resume(now)
}

// resume sends on.
func (s *source) resume(now time.Duration) {
	for _, f := range s.flows {
		f.start(now)
	}
	if s.spec.Kind != TCP && !s.ticking {
		s.ticking = true
		s.w.schedule(now+time.Duration(s.rng.Float64()*float64(airtime(s.w.segment, s.rate))), s, tick, 0)
	}
}

// wants reports whether a source has anything to send.
func (s *source) wants() bool {
	return s.rate > 0 && (s.spec.Transfers.Size == 0 || s.backlog > 0)
}

// offers is the rate at which it would like to send now.
func (s *source) offers() bitrate.Rate {
	if !s.wants() {
		return 0
	}
	return s.rate
}

// setRate changes what the source offers; 0 is silence.
func (s *source) setRate(now time.Duration, rate bitrate.Rate) {
	s.rate = rate
	if rate == 0 {
		return
	}
	s.resume(now)
}

// emit sends one UDP packet and plans the next.
func (s *source) emit(now time.Duration) {
	if !s.wants() {
		s.ticking = false
		return
	}
	if s.limiter.room(s.turn) {
		s.send(now, s.turn, 0)
	}
	s.turn = (s.turn + 1) % max(s.spec.Flows, 1)
	gap := float64(airtime(s.w.segment, s.rate)) * (0.8 + 0.4*s.rng.Float64())
	s.w.schedule(now+time.Duration(gap), s, tick, 0)
}

// send offers a flow's packet of a number to the limiter.
func (s *source) send(now time.Duration, flow, number int) {
	s.offered += s.w.segment
	s.backlog -= s.w.segment
	if s.w.scenario.CountBefore {
		s.counted += s.w.segment
	}
	s.limiter.push(now, time.Duration(number<<flowBits|flow))
}

// freed is called by a limiter that had a flow wait for room.
func (s *source) freed(now time.Duration, flow int) {
	if s.flows != nil {
		s.flows[flow].push(now)
	}
}

// leave is called by the limiter: the packet is on its way to the uplink.
func (s *source) leave(now time.Duration, tag time.Duration) {
	flow, number := int(tag&(maxFlows-1)), tag>>flowBits
	if !s.w.scenario.CountBefore {
		s.counted += s.w.segment
	}
	if s.flows != nil && s.up.marks(now) {
		s.w.schedule(now+s.flows[flow].srtt, s, mark|flow<<3, 0)
	}
	then := atDownlink
	if s.down == nil || s.down.rate == 0 {
		then = atReceiver
	}
	if out, ok := s.up.push(now, s.w.segment); ok {
		s.w.schedule(out+s.w.scenario.Propagation, s, then|flow<<3, number)
	}
}

func (s *source) throughDownlink(now time.Duration, flow int, number time.Duration) {
	if out, ok := s.down.push(now, s.w.segment); ok {
		s.w.schedule(out, s, atReceiver|flow<<3, number)
	}
}
