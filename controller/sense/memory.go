package sense

import (
	"slices"
	"sync"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// rest looks at the paths of an app that show more than a quarter of what its target
// allows: who is far from it need not know. Where a node session sees the path, that shows
// what it is: what the app's host adds is not the network's.
func (m *Memory) rest(app *plan.App, busy func() map[string]bool, now time.Time) {
	for k := range app.Sessions {
		s := &app.Sessions[k]
		p := m.paths[pathKey{app.Pod, OfQueues(app, s).ID}]
		if s.Lag > 0 || 4*p.idling.tail < Allowance(app.SLO, p.trip.value()) {
			p.idling.since = time.Time{}
		} else {
			p.idling.look(now, len(busy()) == 0, p.filled) // those of any node may fill the way down
		}
		s.Base.Idle = p.idling.idle
	}
}

// corroborate asks, where an app's own path tells no directions, the node session on
// the same one, and else whether anybody sends.
func (m *Memory) corroborate(app *plan.App, busy func() map[string]bool) {
	for i := range app.Sessions {
		s := &app.Sessions[i]
		r := &m.paths[pathKey{app.Pod, s.ID}].route
		if r.since.IsZero() || r.both {
			continue
		}
		r.busy = r.busy || busy()[app.Node] || busy()[s.Vantage]
		beside := nodeSession(app, s)
		if beside == nil || r.oneWay {
			continue
		}
		w := m.paths[pathKey{app.Pod, beside.ID}].route
		if !w.since.IsZero() && w.oneWay && w.since.Sub(r.since).Abs() <= 2*slice {
			r.oneWay = true
			r.both = w.both && (w.rise-r.rise).Abs() <= r.rise/4
		}
	}
}

// busy finds the nodes whose senders are not all counted and idle, once it is asked.
func busy(o plan.Observation) func() map[string]bool {
	return sync.OnceValue(func() map[string]bool {
		nodes := map[string]bool{}
		for i := range o.Senders {
			if s := &o.Senders[i]; !rests(s, o.At) {
				nodes[s.Node] = true
			}
		}
		return nodes
	})
}

// rests reports whether a sender is counted and idle: in its newest window, and in those
// that a pause has come in with it.
func rests(s *plan.Sender, now time.Time) bool {
	n := len(s.Rates)
	if n == 0 || now.Sub(s.Rates[n-1].At.Time()) >= time.Second+s.Pause {
		return false
	}
	newest := s.Rates[n-1].At
	for _, r := range slices.Backward(s.Rates) {
		if newest.Sub(r.At) > s.Pause {
			break
		}
		if r.Tx >= idle {
			return false
		}
	}
	return true
}

// vouch takes the bases of an app's paths for those of empty ones where its
// node session sees no queue: so this is how long the path is.
func (m *Memory) vouch(c Config, app *plan.App, now time.Time) {
	for i := range app.Sessions {
		s := &app.Sessions[i]
		if s.Base.Known {
			continue
		}
		beside := nodeSession(app, s)
		if beside == nil || !beside.Base.Known {
			continue
		}
		own, w := c.Read(s, now), c.Read(beside, now)
		if own.Samples > 0 && w.Samples > 0 && w.Tail < Allowance(app.SLO, beside.Base.Delay)/2 {
			m.paths[pathKey{app.Pod, s.ID}].known, s.Base.Known = true, true
		}
	}
}
