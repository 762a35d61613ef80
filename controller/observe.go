package controller

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// observe joins the inventory with what was measured.
func (t *term) observe(s *inventory.Snapshot, now time.Time) plan.Observation {
	t.look.Senders = s.Senders
	t.loop.Measurements.Look(&t.look, now)
	n := 0
	for _, known := range t.paths {
		n += len(known.sessions) + len(known.nodeSessions)
	}
	t.room.fit(len(s.Apps), n, len(s.Senders))
	o := plan.Observation{At: now, Told: t.uplinks.of(s, t.loop.Measurements.State, now), Apps: t.room.apps, Senders: t.room.senders, InOrder: t.inOrder}
	sessions := t.room.sessions // as many as there will be: it stays where it is
	measured := t.look.Measured // in the order of idsOf
	take := func(paths []session) []plan.Session {
		first := len(sessions)
		for i := range paths {
			if paths[i].query != "" {
				sessions = append(sessions, t.answered(&paths[i], now))
				continue
			}
			sessions = append(sessions, plan.Session{ID: paths[i].id, Vantage: paths[i].agent.Node, Samples: measured[0].Samples, Lossless: measured[0].Lossless, Pause: t.busy.ofAgent(paths[i].agent.UID, now)})
			measured = measured[1:]
		}
		return sessions[first:len(sessions):len(sessions)]
	}
	for i := range s.Apps {
		known := t.paths[i]
		o.Apps[i] = s.Apps[i].App
		o.Apps[i].Sessions, o.Apps[i].NodeSessions = take(known.sessions), take(known.nodeSessions)
	}
	for i := range s.Senders {
		o.Senders[i] = s.Senders[i].Sender
		seen := &t.look.Usage[i]
		o.Senders[i].Limit = inForce(s.Senders[i], seen.Held, seen.Fresh)
		o.Senders[i].Limiter, o.Senders[i].Rates = t.loop.limiter(seen.Limiter), seen.Rates
		o.Senders[i].Pause = t.busy.ofNode(s.Senders[i].Node, now)
	}
	return o
}

// room is that of one observation. With many pods it is most of what a tick makes, and
// is used again where nobody has asked for what was seen.
type room struct {
	apps     []plan.App
	sessions []plan.Session // empty
	senders  []plan.Sender
}

// fit has room for so many.
func (r *room) fit(apps, sessions, senders int) {
	r.apps, r.sessions, r.senders = slices.Grow(r.apps[:0], apps)[:apps], slices.Grow(r.sessions[:0], sessions), slices.Grow(r.senders[:0], senders)[:senders]
}

// emptied is the same room without what was seen, whose samples are kept for nobody.
func (r room) emptied() room {
	clear(r.apps)
	clear(r.sessions[:cap(r.sessions)])
	clear(r.senders)
	return r
}

// limiter is how a sender is held to its limit, as far as its node's agent knows and by
// how Cilium routes.
func (l *Loop) limiter(said plan.Limiter) plan.Limiter {
	if said == plan.EDT && l.HostRouting != nil && l.HostRouting() {
		return plan.EDTHostRouting
	}
	return said
}

// answered is what Prometheus says of a path.
func (t *term) answered(path *session, now time.Time) plan.Session {
	a := t.loop.Queries.Answer(path.query, now)
	return plan.Session{ID: path.id, Vantage: path.agent.Node, Samples: a.Samples, Lag: a.Lag}
}

// takeIn takes in what agents measured since they were last looked at, between rounds: those who wait for a
// decision would wait for that.
func (t *term) takeIn(now time.Time) {
	t.news = t.loop.Measurements.News(t.news[:0], now)
	for i := range t.news {
		n := &t.news[i]
		t.sense.Take(t.measured[n.Session], &plan.Session{ID: t.look.Sessions[n.Session], Samples: n.Samples, Lossless: n.Lossless})
	}
	clear(t.news) // the samples are kept for nobody
}

// idsOf are the sessions of agents, in the order in which observe takes them, and what each measures.
func idsOf(all []*paths, apps []*inventory.App) (ids []string, measured []plan.PodID) {
	for i, known := range all {
		for _, each := range [2][]session{known.sessions, known.nodeSessions} {
			for _, path := range each {
				if path.query == "" {
					ids, measured = append(ids, path.id), append(measured, apps[i].Pod)
				}
			}
		}
	}
	return ids, measured
}

// within keeps the apps and senders whose mode allows what is to be done: in
// Enforce only those that may be written; in Observe all, because a dry run
// must see what the real one would. Senders whose limits can't be changed are in
// neither.
func (t *term) within(v sense.View, mode workload.ControlMode) sense.View {
	s := t.snapshot
	if len(t.refused) == 0 && (mode == workload.Observe || !t.modes.observe) {
		return v
	}
	part := sense.View{Observation: plan.Observation{At: v.At, Told: v.Told, InOrder: v.InOrder}}
	for i := range s.Apps {
		if mode == workload.Observe || s.Apps[i].Mode == workload.Enforce {
			part.Apps = append(part.Apps, v.Apps[i])
			part.Verdicts = append(part.Verdicts, v.Verdicts[i])
		}
	}
	for i := range s.Senders {
		_, refused := t.refused[s.Senders[i].UID]
		if !refused && (mode == workload.Observe || s.Senders[i].Mode == workload.Enforce) {
			part.Senders = append(part.Senders, v.Senders[i])
		}
	}
	return part
}

// modes says in which modes anything of a snapshot is.
type modes struct{ enforce, observe bool }

func modesOf(s *inventory.Snapshot) modes {
	var m modes
	note := func(mode workload.ControlMode) {
		m.enforce = m.enforce || mode == workload.Enforce
		m.observe = m.observe || mode == workload.Observe
	}
	for i := range s.Apps {
		note(s.Apps[i].Mode)
	}
	for i := range s.Senders {
		note(s.Senders[i].Mode)
	}
	return m
}
