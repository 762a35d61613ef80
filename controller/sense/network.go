package sense

import (
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

// answers reports whether a session was heard of lately.
func (c Config) answers(session *plan.Session, now time.Time) bool {
	n := len(session.Samples)
	return n > 0 && now.Sub(session.Samples[n-1].At) <= c.Stale
}

// Vouched reports whether an agent beside the app sees one of its paths across the
// network too: then no figure is the app's word alone.
func Vouched(app *plan.App, now time.Time, stale time.Duration) bool {
	for i := range app.Sessions {
		if app.Sessions[i].Vantage == app.Node {
			continue
		}
		if w := nodeSession(app, &app.Sessions[i]); w != nil {
			if n := len(w.Samples); n > 0 && now.Sub(w.Samples[n-1].At) <= stale {
				return true
			}
		}
	}
	return false
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
	w := c.read(beside, since, now)
	switch {
	case w.Samples == 0 && c.answers(beside, now): // it is about to tell: its host is busy, or there was no time yet
		r.Samples = 0
		return r
	case w.Samples == 0:
		return r
	}
	if r.Samples == 0 { // nothing but loss is known of the app
		r.Lost, r.LostCount = min(r.Lost, w.Lost), min(r.LostCount, w.LostCount)
		return r
	}
	if w.Median < r.Median {
		r.Slope = w.Slope
	}
	r.Low, r.Median, r.Tail = min(r.Low, w.Low), min(r.Median, w.Median), min(r.Tail, w.Tail)
	r.pair = min(r.pair, w.pair)
	r.Recent, r.Surge = min(r.Recent, w.Recent), r.pair
	r.Lost, r.LostCount = min(r.Lost, w.Lost), min(r.LostCount, w.LostCount)
	if r.Forward == 0 && r.Back == 0 {
		r.Forward, r.Back = w.Forward, w.Back
	}
	return r
}
