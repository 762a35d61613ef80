package sense

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Memory is what is remembered of paths from one tick to the next. The zero
// value knows nothing. It is for one goroutine.
type Memory struct {
	apps map[plan.PodID]*paths
	tick int
}

// paths are those to one app.
type paths struct {
	tick int
	all  []*path
}

// of finds the path of a session: there are few.
func (ps *paths) of(s *plan.Session) *path {
	for _, p := range ps.all {
		if p.id == s.ID {
			return p
		}
	}
	return nil
}

// Observe takes in the new samples of o, puts into its sessions the bases of
// their paths, and judges: of each app all at once, while its samples are at hand, and of many apps
// on all processors. Paths that are not in o are forgotten.
func (m *Memory) Observe(c Config, o plan.Observation) View {
	m.tick++
	busy := busy(o)
	if m.apps == nil {
		m.apps = map[plan.PodID]*paths{}
	}
	known := make([]*paths, len(o.Apps))
	for i := range o.Apps {
		pod := o.Apps[i].Pod
		if known[i] = m.apps[pod]; known[i] == nil {
			known[i] = &paths{}
			m.apps[pod] = known[i]
		}
	}
	v := View{Observation: o, Verdicts: make([]Verdict, len(o.Apps))}
	var parts sync.WaitGroup
	each := max(leastPart, (len(o.Apps)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for first := 0; first < len(o.Apps); first += each {
		parts.Go(func() {
			for i := first; i < min(first+each, len(o.Apps)); i++ {
				v.Verdicts[i] = known[i].take(c, &o.Apps[i], busy, o.At, m.tick)
			}
		})
	}
	parts.Wait()
	maps.DeleteFunc(m.apps, func(_ plan.PodID, ps *paths) bool { return ps.tick != m.tick })
	return v
}

// Take takes in what is new of a path to an app before it is judged, so that there is less to do then. What is
// known of a path does not depend on when that is, but that a route which became longer is found sooner; of an unknown one nothing
// is taken in.
func (m *Memory) Take(app plan.PodID, s *plan.Session) {
	if known := m.apps[app]; known != nil {
		if p := known.of(s); p != nil {
			p.add(s)
		}
	}
}

// leastPart is how many apps are worth a goroutine.
const leastPart = 64

// take takes in what is new of one app, and judges it.
func (ps *paths) take(c Config, app *plan.App, busy func() map[string]bool, now time.Time, tick int) Verdict {
	ps.observe(c, app, tick)
	ps.corroborate(app, busy)
	ps.rest(app, busy, now)
	ps.vouch(c, app, now)
	return c.Judge(app, time.Time{}, now)
}

// observe brings the paths of an app up to date. Where the agent answers for the app, session
// and node session are one, and the second finds nothing new.
func (ps *paths) observe(c Config, app *plan.App, tick int) {
	ps.tick = tick
	for _, sessions := range [2][]plan.Session{app.Sessions, app.NodeSessions} {
		for i := range sessions {
			s := &sessions[i]
			p := ps.of(s)
			if p == nil {
				p = &path{id: s.ID}
				ps.all = append(ps.all, p)
			}
			p.tick = tick
			p.add(s)
			p.known = p.known || p.seen != 0 && p.trip.value() < doubtful*Allowance(app.SLO, 0)
			p.judge(s.Samples, c.Window, c.soft(Allowance(app.SLO, p.trip.value())))
			s.Base = p.base()
		}
	}
	ps.all = slices.DeleteFunc(ps.all, func(p *path) bool { return p.tick != tick })
}

// Learn takes over what a law found out by cutting the senders, or as nobody sends: of
// whom the least delay seen is that of the empty path, and how late whom is by itself.
func (m *Memory) Learn(from plan.Plan) {
	if len(from.Empty)+len(from.Idle) == 0 {
		return
	}
	empty, idle := make(map[plan.PodID]bool, len(from.Empty)), make(map[plan.PodID]time.Duration, len(from.Idle))
	for _, app := range from.Empty {
		empty[app] = true
	}
	for _, i := range from.Idle {
		idle[i.App] = i.Delay
	}
	for app, ps := range m.apps {
		delay, known := idle[app]
		for _, p := range ps.all {
			p.known = p.known || empty[app]
			if known {
				p.idling.idle, p.idling.tail = delay, delay
			}
		}
	}
}

// doubtful is how many times its allowance the first base of a path must be
// for it to be doubted: a queue may have stood there since before anybody began
// to look. One cut then tells.
const doubtful = 4

// rest looks at the paths of an app that show more than a quarter of what its target
// allows: who is far from it need not know. Where a node session sees the path, that shows
// what it is: what the app's host adds is not the network's.
func (ps *paths) rest(app *plan.App, busy func() map[string]bool, now time.Time) {
	for k := range app.Sessions {
		s := &app.Sessions[k]
		p := ps.of(OfQueues(app, s))
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
func (ps *paths) corroborate(app *plan.App, busy func() map[string]bool) {
	for i := range app.Sessions {
		s := &app.Sessions[i]
		r := &ps.of(s).route
		if r.since == 0 || r.both {
			continue
		}
		r.busy = r.busy || busy()[app.Node] || busy()[s.Vantage]
		beside := nodeSession(app, s)
		if beside == nil || r.oneWay {
			continue
		}
		w := ps.of(beside).route
		if w.since != 0 && w.oneWay && w.since.Sub(r.since).Abs() <= 2*slice {
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
func (ps *paths) vouch(c Config, app *plan.App, now time.Time) {
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
			ps.of(s).known, s.Base.Known = true, true
		}
	}
}
