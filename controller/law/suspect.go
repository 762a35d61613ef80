package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// nodeUplink names the bottleneck that a node's senders share.
func nodeUplink(node string) string { return "node/" + node }

// calmAfter is how long an app must have been well before its next trouble is
// looked at with fresh eyes.
const calmAfter = 10 * time.Second

// suspects says for every app where its trouble is looked for: kept while it
// lasts, chosen by evidence when it starts.
func (l adaptive) suspects(known []Suspect, verdicts []verdict, now time.Time) []Suspect {
	next := make([]Suspect, 0, len(verdicts))
	for _, v := range verdicts {
		s := Suspect{App: v.app.Pod, Bottleneck: l.candidates(v)[0]}
		i := slices.IndexFunc(known, func(k Suspect) bool { return k.App == v.app.Pod })
		if i >= 0 {
			old := known[i]
			s.Since = old.Since
			if now.Sub(old.Since) < calmAfter {
				s.Bottleneck = old.Bottleneck
			}
		}
		if !v.blind && v.violated() {
			s.Since = now
		}
		next = append(next, s)
	}
	return next
}

// candidates are the places where an app's trouble may come from, the most
// likely first. A reply leaves through the uplink of the app's node; a request
// through that of the node it is sent from. One-way delay says which.
func (l adaptive) candidates(v verdict) []string {
	own := nodeUplink(v.app.Node)
	list := []string{own}
	if r := v.worst; r.session != nil && r.session.Vantage != v.app.Node {
		far := nodeUplink(r.session.Vantage)
		switch {
		case r.forward == 0 && r.back == 0:
		case r.forward > 2*r.back && l.everyForward(v):
			list = []string{cluster, own} // towards the app, from wherever: its downlink
			return list
		case r.forward > 2*r.back:
			list = []string{far, own}
		case r.back > 2*r.forward:
			list = []string{own}
		default:
			list = []string{own, far}
		}
	}
	return append(list, cluster)
}

// everyForward reports whether an app seen from several nodes is late from
// each of them on the way there.
func (l adaptive) everyForward(v verdict) bool { return v.paths > 1 && v.forwardLate == v.paths }

// next is the candidate after the present one, or "" after the last.
func (l adaptive) next(v verdict, present string) string {
	list := l.candidates(v)
	i := slices.Index(list, present)
	if i < 0 || i+1 >= len(list) {
		return ""
	}
	return list[i+1]
}

// concerns reports whether an app has a say in a bottleneck: it is measured
// across it, and does not blame another one for trouble it has.
func concerns(name string, app *plan.App, s Suspect, violated bool) bool {
	if s.Bottleneck == name {
		return true
	}
	if violated {
		return false
	}
	if name == cluster || name == nodeUplink(app.Node) {
		return true
	}
	return slices.ContainsFunc(app.Sessions, func(x plan.Session) bool { return name == nodeUplink(x.Vantage) })
}
