package law

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// sessionOf counts an app's sessions and then its witnesses.
func sessionOf(app *plan.App, i int) *plan.Session {
	if i < len(app.Sessions) {
		return &app.Sessions[i]
	}
	return &app.Witnesses[i-len(app.Sessions)]
}

// witness is the same path to the agent beside the app; nil if there is none.
func witness(app *plan.App, session *plan.Session) *plan.Session {
	if session.Lag > 0 {
		return nil
	}
	for i := range app.Witnesses {
		if w := &app.Witnesses[i]; w.Vantage == session.Vantage {
			return w
		}
	}
	return nil
}

// witnessed is what the network did to a path: what delays an app and not its
// witness happens in the app's host or process. A queue delays both, so of every
// figure the smaller counts, and four late packets in a row are seen in half the
// time. A witness that sees nothing changes nothing.
func (l adaptive) witnessed(app *plan.App, session *plan.Session, r reading, paths pathIndex, since, now time.Time) reading {
	beside := witness(app, session)
	if beside == nil {
		return r
	}
	p := paths[pathKey{app.Pod, beside.ID}]
	w := l.read(beside, p, since, now)
	if w.samples == 0 {
		return r
	}
	if r.samples == 0 { // nothing but loss is known of the app
		r.lost, r.lostCount = min(r.lost, w.lost), min(r.lostCount, w.lostCount)
		return r
	}
	if p.Sure && w.tail < allowance(app.SLO, p.base())/2 {
		r.path.Sure = true // no queue stands there, so this is how long the path is
	}
	if w.median < r.median {
		r.slope = w.slope
	}
	r.low, r.median, r.tail = min(r.low, w.low), min(r.median, w.median), min(r.tail, w.tail)
	r.recent, r.surge = min(r.recent, w.recent), min(r.pair, w.pair)
	r.lost, r.lostCount = min(r.lost, w.lost), min(r.lostCount, w.lostCount)
	if r.forward == 0 && r.back == 0 {
		r.forward, r.back = w.forward, w.back
	}
	return r
}
