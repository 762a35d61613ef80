package controller

import (
	"time"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// observe joins the inventory with what was measured.
func (t *term) observe(s *inventory.Snapshot, now time.Time) plan.Observation {
	o := plan.Observation{At: now, Told: t.uplinks.of(s, t.loop.Measurements.State, now), Apps: make([]plan.App, len(s.Apps)), Senders: make([]plan.Sender, len(s.Senders))}
	n := 0
	for i := range s.Apps {
		known := t.paths[s.Apps[i].Pod]
		n += len(known.sessions) + len(known.nodeSessions)
	}
	room := make([]plan.Session, 0, n)
	take := func(paths []session) []plan.Session {
		first := len(room)
		for i := range paths {
			room = append(room, t.session(&paths[i], now))
		}
		return room[first:len(room):len(room)]
	}
	for i := range s.Apps {
		known := t.paths[s.Apps[i].Pod]
		o.Apps[i] = s.Apps[i].App
		o.Apps[i].Sessions, o.Apps[i].NodeSessions = take(known.sessions), take(known.nodeSessions)
	}
	for i := range s.Senders {
		o.Senders[i] = s.Senders[i].Sender
		held, fresh := t.loop.Measurements.Held(s.Senders[i].Pod, now)
		o.Senders[i].Limit = inForce(s.Senders[i], held, fresh)
		o.Senders[i].Limiter = t.loop.Measurements.Limiter(s.Senders[i].Node)
		o.Senders[i].Rates = t.loop.Measurements.Rates(s.Senders[i].Pod, now)
	}
	return o
}

// session looks up what was measured on a path.
func (t *term) session(path *session, now time.Time) plan.Session {
	s := plan.Session{ID: path.id, Vantage: path.agent.Node}
	if path.query == "" {
		s.Samples = t.loop.Measurements.Session(path.id, now).Samples
		return s
	}
	a := t.loop.Queries.Answer(path.query, now)
	s.Samples, s.Lag = a.Samples, a.Lag
	return s
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
	part := sense.View{Observation: plan.Observation{At: v.At, Told: v.Told}}
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
