package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// observe joins the inventory with what was measured.
func (t *term) observe(s *inventory.Snapshot, now time.Time) observation {
	o := observation{Observation: plan.Observation{At: now}, measured: map[string]agents.Measurement{}}
	if t.loop.Refused != nil {
		o.refused = t.loop.Refused()
	}
	for _, a := range s.Apps {
		app, paths := a.App, t.paths[a.Pod]
		app.Sessions = t.sessions(o, paths.sessions)
		app.Witnesses = t.sessions(o, paths.witnesses)
		o.Apps = append(o.Apps, app)
	}
	for _, snd := range s.Senders {
		sender := snd.Sender
		sender.Rates = t.loop.Measurements.Rates(snd.Pod, now)
		o.Senders = append(o.Senders, sender)
	}
	return o
}

// observation is one tick's, with the measurements behind it by session id.
type observation struct {
	plan.Observation
	measured map[string]agents.Measurement
	refused  map[types.UID]string
}

// sessions looks up what was measured on each of these paths.
func (t *term) sessions(o observation, paths []session) []plan.Session {
	var out []plan.Session
	for _, path := range paths {
		s := plan.Session{ID: path.id, Vantage: path.agent.Node}
		var known agents.Measurement
		if path.query == "" {
			known = t.loop.Measurements.Session(path.id, o.At)
		} else {
			a := t.loop.Queries.Answer(path.query, o.At)
			known = agents.Measurement{Samples: a.Samples, Base: a.Base, Error: a.Error}
			s.Lag = a.Lag
		}
		s.Samples = known.Samples
		o.measured[path.id] = known
		out = append(out, s)
	}
	return out
}

// within keeps the apps and senders whose mode allows what is to be done: in
// Enforce only those that may be written; in Observe all, because a dry run
// must see what the real one would. Senders whose limits can't be changed are in
// neither.
func within(o observation, s *inventory.Snapshot, mode workload.ControlMode) plan.Observation {
	part := plan.Observation{At: o.At}
	for i, app := range s.Apps {
		if mode == workload.Observe || app.Mode == workload.Enforce {
			part.Apps = append(part.Apps, o.Apps[i])
		}
	}
	for i, sender := range s.Senders {
		_, refused := o.refused[sender.UID]
		if !refused && (mode == workload.Observe || sender.Mode == workload.Enforce) {
			part.Senders = append(part.Senders, o.Senders[i])
		}
	}
	return part
}

// anyIn reports whether anything in s is in mode.
func anyIn(s *inventory.Snapshot, mode workload.ControlMode) bool {
	for _, app := range s.Apps {
		if app.Mode == mode {
			return true
		}
	}
	for _, sender := range s.Senders {
		if sender.Mode == mode {
			return true
		}
	}
	return false
}
