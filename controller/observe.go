package controller

import (
	"time"

	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// observe joins the inventory with what was measured.
func observe(s *inventory.Snapshot, measured map[plan.PodID]paths, m Measurements, now time.Time) observation {
	o := observation{Observation: plan.Observation{At: now}, measured: map[string]agents.Measurement{}}
	for _, a := range s.Apps {
		app := a.App
		app.Sessions = o.sessions(measured[a.Pod].sessions, m)
		app.Witnesses = o.sessions(measured[a.Pod].witnesses, m)
		o.Apps = append(o.Apps, app)
	}
	for _, snd := range s.Senders {
		sender := snd.Sender
		sender.Rates = m.Rates(snd.Pod, now)
		o.Senders = append(o.Senders, sender)
	}
	return o
}

// observation is one tick's, with the measurements behind it by session id.
type observation struct {
	plan.Observation
	measured map[string]agents.Measurement
}

// sessions looks up what was measured on each of these paths.
func (o observation) sessions(paths []session, m Measurements) []plan.Session {
	var out []plan.Session
	for _, path := range paths {
		known := m.Session(path.id, o.At)
		o.measured[path.id] = known
		out = append(out, plan.Session{ID: path.id, Vantage: path.agent.Node, Samples: known.Samples})
	}
	return out
}

// within keeps the apps and senders whose mode allows what is to be done: in
// Enforce only those that may be written; in Observe all, because a dry run
// must see what the real one would.
func within(o plan.Observation, s *inventory.Snapshot, mode workload.ControlMode) plan.Observation {
	part := plan.Observation{At: o.At}
	for i, app := range s.Apps {
		if mode == workload.Observe || app.Mode == workload.Enforce {
			part.Apps = append(part.Apps, o.Apps[i])
		}
	}
	for i, sender := range s.Senders {
		if mode == workload.Observe || sender.Mode == workload.Enforce {
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
