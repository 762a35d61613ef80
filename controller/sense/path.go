package sense

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// path is the memory of one path: the least delay seen lately.
type path struct {
	id      string // its session's
	tick    int
	seen    plan.Instant // newest sample taken in
	known   bool         // the base is one of an empty path, not of a standing queue
	held    bool         // a queue is judged to stand there: its delay is never learned
	filled  bool         // no sample of the window is below the bound: a queue, or it looks like one
	trip    floor
	forward floor // one-way, with the unknown clock offset
	back    floor
	route   route
	idling  idling
}

// The epochs of the minima. The round trip's is long, and longer where it takes
// long to be seen; the one-way delays' is short, because clocks of two machines
// drift apart by up to 50 µs a second.
const (
	tripEpoch   = 2 * time.Minute
	oneWayEpoch = 15 * time.Second
)

// base is what a session is compared with.
func (p *path) base() plan.Base {
	return plan.Base{Delay: p.trip.value(), Known: p.known, Idle: p.idling.idle, Forward: p.forward.value(), Back: p.back.value()}
}

// add takes in what is new of a session.
func (p *path) add(s *plan.Session) {
	epoch := tripEpoch + 20*s.Lag
	new := len(s.Samples)
	for new > 0 && s.Samples[new-1].At.Compare(p.seen) > 0 {
		new--
	}
	for i := range s.Samples[new:] {
		x := &s.Samples[new+i]
		if x.Lost {
			continue
		}
		p.seen = x.At
		if p.held && p.seen.Sub(p.trip.since) >= epoch {
			p.trip.keep(p.seen)
		}
		p.trip.add(p.seen, x.RTT, epoch)
		p.idling.add(x.RTT - p.trip.value())
		if x.HasOneWay {
			p.forward.add(p.seen, x.Forward, oneWayEpoch)
			p.back.add(p.seen, x.Backward(), oneWayEpoch)
		}
	}
	if s.Lag == 0 && p.route.look(s.Samples, p) {
		p.longer()
	}
}

// longer takes over the delay of a route that has become longer.
func (p *path) longer() {
	p.trip = floor{since: p.seen, now: p.route.level, last: p.route.level}
	p.forward, p.back = floor{}, floor{}
	p.route = route{}
}

// judge notes whether a queue is judged to stand: most of the newest samples are
// above the bound. Between a half and three quarters it stays as it was.
func (p *path) judge(samples []plan.Sample, window, bound time.Duration) {
	if !p.known || bound == 0 {
		p.held, p.filled = false, !p.known
		return
	}
	base, all, above := p.trip.value(), 0, 0
	for i := range slices.Backward(samples) {
		x := &samples[i]
		if p.seen.Sub(x.At) > window && all > 0 {
			break
		}
		if x.Lost {
			continue
		}
		all++
		if x.RTT-base > bound {
			above++
		}
	}
	p.filled = above == all
	switch {
	case 4*above > 3*all:
		p.held = true
	case 2*above < all:
		p.held = false
	}
}
