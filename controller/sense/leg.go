package sense

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Leg is a part of a path, by which its delay is judged.
type Leg int

// The legs: all of it, the way to the app, which begins at the uplink of the node that looks,
// and the way back, which begins at that of the app's.
const (
	RoundTrip Leg = iota
	There
	Back
)

// LegAcross is the leg of an app's session that crosses the uplink of a node; all of it where no
// node is named.
func LegAcross(app *plan.App, session *plan.Session, node string) (leg Leg, crosses bool) {
	switch node {
	case "":
		return RoundTrip, true
	case app.Node:
		return Back, session.Vantage != node
	}
	return There, session.Vantage == node
}

// Above is the delay that others are compared with: 0 while it is in doubt.
func Above(b plan.Base) time.Duration {
	if !b.Known {
		return 0
	}
	return b.Delay
}

// Above is by how much a packet was later on a leg than on one that is empty; on all of its
// way, where one way is not known.
func (l Leg) Above(s *plan.Sample, base *plan.Base) time.Duration {
	trip := s.RTT - Above(*base)
	if l == RoundTrip || !s.HasOneWay {
		return trip
	}
	return l.part(trip, waysOf(s, base))
}

// Ways is by how much either way of a packet was later than on an empty path; both are 0 where
// that is not known.
type Ways struct{ Forward, Back time.Duration }

func waysOf(s *plan.Sample, base *plan.Base) Ways {
	return Ways{s.Forward - base.Forward, s.Backward() - base.Back}
}

// part is what of a round trip's delay is surely that of one leg: as the clocks of two machines
// drift apart one way seems to be later than it is, and the round trip tells by how much.
func (l Leg) part(trip time.Duration, w Ways) time.Duration {
	if l == Back {
		return min(w.Back, trip-w.Forward)
	}
	return min(w.Forward, trip-w.Back)
}

// Begins is when a packet came to a leg, as far as that is known: what waited on the way there
// came to the way back as much later.
func (l Leg) Begins(s *plan.Sample, base *plan.Base) plan.Instant {
	if l == Back && s.HasOneWay {
		return plan.At(s.At.Time().Add(max(s.Forward-base.Forward, 0)))
	}
	return s.At
}
