package sense

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// nodeSession is the same path to the agent beside the app; nil if there is none.
func nodeSession(app *plan.App, session *plan.Session) *plan.Session {
	if session.Lag > 0 {
		return nil
	}
	for i := range app.NodeSessions {
		if w := &app.NodeSessions[i]; w.Vantage == session.Vantage {
			return w
		}
	}
	return nil
}

// OfQueues is what knows best of the queues on a session's path: its node session,
// where that sees anything.
func OfQueues(app *plan.App, session *plan.Session) *plan.Session {
	if beside := nodeSession(app, session); beside != nil && len(beside.Samples) > 0 {
		return beside
	}
	return session
}

// awaited reports whether a session that has told enough until now is about to tell of the
// time since a cut: its host is busy, or there was no time yet. What is not told by when
// it would be stale is not waited for.
func (c Config) awaited(session *plan.Session, since, now time.Time) bool {
	return !since.IsZero() && now.Sub(since) <= c.Stale && c.Read(session, now).Samples > 0
}

// Vouched reports whether an agent beside the app sees each of its paths across the
// network that tell anything: then no figure is the app's word alone. Where the agent
// answers in the app's place none is.
func (c Config) Vouched(app *plan.App, now time.Time) bool {
	vouched := false
	for i := range app.Sessions {
		s := &app.Sessions[i]
		if s.Vantage == app.Node {
			continue
		}
		w := nodeSession(app, s)
		if app.NodeReflects {
			w = s
		}
		if w != nil && c.Read(w, now).Samples > 0 {
			vouched = true
		} else if r := c.Read(s, now); !r.Blind() {
			return false
		}
	}
	return vouched
}

// network is what the network did to a path: what delays an app and not its
// node session happens in the app's host or process. A queue delays both, so of every
// figure the smaller counts, and four late packets in a row are seen in half the
// time. A node session that sees nothing changes nothing.
func (c Config) network(app *plan.App, session *plan.Session, r Reading, since, now time.Time) Reading {
	beside := nodeSession(app, session)
	if beside == nil {
		return r
	}
	w := c.read(beside, r.leg, since, now)
	if w.Samples == 0 {
		if !c.awaited(beside, since, now) {
			return r
		}
		r.Samples = 0
	}
	r.Lost, r.LostCount = min(r.Lost, w.Lost), min(r.LostCount, w.LostCount)
	if r.Samples == 0 { // nothing but loss is known of the app, or counts yet
		return r
	}
	if w.Median < r.Median {
		r.Slope = w.Slope
	}
	r.Low, r.Median, r.Tail = min(r.Low, w.Low), min(r.Median, w.Median), min(r.Tail, w.Tail)
	r.pair = min(r.pair, w.pair)
	r.Recent, r.surge = min(r.Recent, w.Recent), r.pair
	r.Ways = cmp.Or(r.Ways, w.Ways)
	return r
}
