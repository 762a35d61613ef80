package sense

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
)

// A route that became longer and a queue that stands look alike in the round
// trip, for as long as one likes: a full drop-tail queue varies no more than an
// empty path, and small probes fit into what large packets leave of it. What a
// queue cannot do is to make both directions later at once by like amounts, since
// each has its own; and it does not stand where nobody sends. So a longer base is
// believed after routeTime of samples that vary as little as before and are not
// lost, if besides
//
//   - both one-way delays rose, each by a quarter of the step or more: those of
//     the session, or of the node session on the same path; or
//   - no one-way delay is known, and all the while the senders on both nodes
//     were counted and idle.
//
// Else the base stays, and with it the trouble: what cannot be known is not
// called well. Below what counts as a queue the windowed minimum follows by itself.
const (
	routeTime  = 30 * time.Second
	slice      = 1500 * time.Millisecond // of which the least and the median are looked at
	settled    = 1200 * time.Millisecond // after which a probe is answered or lost
	leastStep  = 100 * time.Microsecond
	leastCount = 5 // samples, for a slice to speak
	idle       = bitrate.Mbit
)

// route looks for a lasting step of one path.
type route struct {
	looked plan.Instant // up to where
	before glance       // the last slice without it
	since  plan.Instant // of the step; 0: there is none
	level  time.Duration
	rise   time.Duration
	both   bool // directions rose
	oneWay bool // and are known
	busy   bool // somebody sent meanwhile, or is not counted
}

// glance is what one slice saw.
type glance struct {
	n, lost       int
	least, median time.Duration
	forward, back time.Duration // least
	oneWay        bool
}

// look takes in the next slice when it is complete, and reports a step that is
// to be believed.
func (r *route) look(samples []plan.Sample, p *path) bool {
	if r.looked == 0 {
		r.looked = p.seen
	}
	for p.seen.Sub(r.looked) >= slice+settled {
		from := r.looked
		r.looked = from.Add(slice)
		if p.seen.Sub(r.looked) > 2*(slice+settled) {
			r.looked = p.seen.Add(-slice - settled) // a pause
		}
		r.take(glanceAt(samples, from, r.looked), from, p.trip.value())
	}
	return r.since != 0 && p.known && r.looked.Sub(r.since) >= routeTime && (r.both || !r.oneWay && !r.busy)
}

func (r *route) take(g glance, at plan.Instant, base time.Duration) {
	if g.n < leastCount {
		return
	}
	rise := g.least - base
	if rise < max(leastStep, base/20) {
		*r = route{looked: r.looked, before: g}
		return
	}
	steady := g.lost*200 <= g.n && g.median-g.least <= max(2*(r.before.median-r.before.least), rise/8)
	same := r.since != 0 && (g.least-r.level).Abs() <= max(rise/16, leastStep/2)
	switch {
	case !steady || r.before.n == 0:
		r.since = 0
	case same:
		r.level = min(r.level, g.least)
	default:
		forward, back := g.forward-r.before.forward, g.back-r.before.back
		r.since, r.level, r.rise, r.busy = at, g.least, rise, false
		r.oneWay = g.oneWay && r.before.oneWay
		r.both = r.oneWay && forward >= rise/4 && back >= rise/4
	}
}

func glanceAt(samples []plan.Sample, from, to plan.Instant) glance {
	var g glance
	var room [2 * most]time.Duration
	trips := room[:0]
	for i := plan.FirstAt(samples, from); i < len(samples); i++ {
		s := &samples[i]
		if s.At.Compare(to) >= 0 {
			break
		}
		g.n++
		if s.Lost {
			g.lost++
			continue
		}
		if len(trips) == 0 {
			g.oneWay, g.forward, g.back = s.HasOneWay, s.Forward, s.Backward()
		} else if s.HasOneWay {
			g.forward, g.back = min(g.forward, s.Forward), min(g.back, s.Backward())
		}
		trips = append(trips, s.RTT)
	}
	return g.of(trips)
}

func (g glance) of(trips []time.Duration) glance {
	if len(trips) == 0 {
		g.n = 0
		return g
	}
	g.least, g.median = slices.Min(trips), quantile.Select(trips, 0.5)
	return g
}
