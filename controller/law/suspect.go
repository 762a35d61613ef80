package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// nodeUplink names the bottleneck that a node's senders share.
func nodeUplink(node string) string { return "node/" + node }

// excused reports whether an app in trouble is left alone for now, because
// nothing that could be cut helped it.
func (s Suspect) excused(v verdict, now time.Time) bool {
	return now.Before(s.RetryAt) && v.worst.median < 2*s.Level+v.allow
}

// suspects says for every app where its trouble is looked for: kept while it
// lasts, chosen by evidence when it starts, and again while nobody is behind it.
func suspects(known []Suspect, budgets []Budget, verdicts []verdict, sending map[string]bool, now time.Time) []Suspect {
	next := make([]Suspect, 0, len(verdicts))
	for _, v := range verdicts {
		s := Suspect{App: v.app.Pod, Bottleneck: nodeUplink(v.app.Node)}
		trouble := !v.blind && !v.app.SLO.IsZero() && (v.standing || v.lossy)
		if trouble {
			s.Bottleneck = candidates(v, sending)[0]
		}
		i := slices.IndexFunc(known, func(k Suspect) bool { return k.App == v.app.Pod })
		if i >= 0 {
			old := known[i]
			s.Since, s.RetryAt, s.Backoff, s.Level = old.Since, old.RetryAt, old.Backoff, old.Level
			if !s.RetryAt.IsZero() && now.Sub(s.RetryAt) > s.Backoff {
				s.RetryAt, s.Backoff = time.Time{}, 0
			}
			behind := slices.ContainsFunc(budgets, func(b Budget) bool { return b.Name == old.Bottleneck })
			if behind && now.Sub(old.Since) < 3*cleanFor {
				s.Bottleneck, s.Tried, s.InVain = old.Bottleneck, old.Tried, old.InVain
			}
		}
		if trouble || !v.blind && v.violated() && now.Sub(s.Since) < 3*cleanFor {
			s.Since = now
		}
		next = append(next, s)
	}
	return next
}

// candidates are the places where an app's trouble may come from, the most
// likely first: the uplinks of nodes that send, then the whole cluster. A reply
// leaves through the uplink of the app's node, a request through that of the
// node it is sent from; one-way delay says which of them is late. Requests that
// are late from wherever they come point to the app's downlink, and so to all
// that send. Without one-way delays, several vantage points tell: what is late
// from all of them is near the app, what is late from one is near that one.
func candidates(v verdict, sending map[string]bool) []string {
	own, far := nodeUplink(v.app.Node), ""
	if r := v.worst; r.session != nil && r.session.Vantage != v.app.Node {
		far = nodeUplink(r.session.Vantage)
	}
	forward, back := v.worst.forward, v.worst.back
	var order []string
	switch {
	case forward > 2*back && v.paths > 1 && v.forwardLate == v.paths:
		order = []string{cluster}
	case forward > 2*back:
		order = []string{far, cluster}
	case back > 2*forward, v.paths > 1 && v.late == v.paths:
		order = []string{own, cluster}
	case v.paths > 1:
		order = []string{far, own, cluster}
	default:
		order = []string{own, far, cluster}
	}
	elsewhere := len(sending)
	for _, name := range order {
		if sending[name] {
			elsewhere--
		}
	}
	order = slices.DeleteFunc(order, func(name string) bool {
		// The cluster is no other suspect if all that send are suspects already.
		return !sending[name] || name == cluster && elsewhere == 0 && len(order) > 1
	})
	if len(order) == 0 {
		return []string{own}
	}
	return order
}

// sending names the bottlenecks behind which somebody sends.
func sending(senders []plan.Sender, uses []Use) map[string]bool {
	names := map[string]bool{}
	for i := range senders {
		if max(uses[i].Now, uses[i].Last) >= bitrate.Mbit {
			names[nodeUplink(senders[i].Node)], names[cluster] = true, true
		}
	}
	return names
}

// next is the first candidate that has not been tried in the present trouble;
// "" if all have.
func (s *Suspect) next(v verdict, sending map[string]bool) string {
	for _, name := range candidates(v, sending) {
		if name != s.Bottleneck && !slices.Contains(s.Tried, name) {
			return name
		}
	}
	return ""
}

// concerns reports whether an app has a say in a bottleneck: it is measured
// across it, and does not blame another one for trouble it has.
func concerns(name string, app *plan.App, s Suspect, violated bool) bool {
	if app.SLO.IsZero() {
		return false
	}
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

// acquit moves the suspicion of every app in trouble away from a bottleneck that
// was cut in vain: for one app, and so for the others that blame it.
func (r *round) acquit(name string) {
	for i, v := range r.verdicts {
		if r.troubled(i, name) {
			r.accuse(i, v, true)
		}
	}
}

// accuse moves an app's suspicion to the next candidate, or excuses everyone
// for a while, longer each time, if cuts were tried at all.
func (r *round) accuse(app int, v verdict, tried bool) {
	s := &r.state.Suspects[app]
	s.InVain = s.InVain || tried
	if name := s.next(v, r.sending); name != "" {
		s.Tried = append(slices.Clip(s.Tried), s.Bottleneck)
		s.Bottleneck = name
		r.accused = append(r.accused, name)
		return
	}
	if !s.InVain {
		return
	}
	s.Backoff = max(min(max(2*s.Backoff, r.law.Backoff), r.law.MaxBackoff), 4*v.lag)
	s.Bottleneck, s.Tried, s.InVain = nodeUplink(r.o.Apps[app].Node), nil, false
	s.RetryAt, s.Level = r.o.At.Add(s.Backoff), max(v.worst.median, v.worst.tail)
}
