package controller

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/placement"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// session is a path to be measured, and where from.
type session struct{ id, vantage string }

// sessionsOf decides who measures whom: what each agent is to probe, and which
// sessions belong to each app. Agents without sessions are listed too, since
// they report usage.
func sessionsOf(s *inventory.Snapshot, k int) ([]agents.Assignment, map[plan.PodID][]session) {
	probers := map[string]inventory.Agent{} // by node
	var vantages []placement.Vantage
	for _, a := range s.Agents {
		if _, twice := probers[a.Node]; a.Role == api.Role_ROLE_PROBE && !twice {
			probers[a.Node] = a
			vantages = append(vantages, placement.Vantage{Node: a.Node, Zone: s.Zones[a.Node]})
		}
	}
	perAgent := map[types.UID][]*api.Session{}
	perApp := map[plan.PodID][]session{}
	for _, app := range s.Apps {
		target, ok := wireSession(app, probers)
		if !ok {
			continue
		}
		nodes := placement.Choose(placement.Target{Key: app.Pod.String(), Node: app.Node, Pinned: app.Pinned}, vantages, k)
		for _, node := range nodes {
			id := node + " → " + target.Id
			perApp[app.Pod] = append(perApp[app.Pod], session{id, node})
			uid := probers[node].UID
			perAgent[uid] = append(perAgent[uid], &api.Session{Id: id, Protocol: target.Protocol, Host: target.Host, Port: target.Port})
		}
	}
	assignments := make([]agents.Assignment, len(s.Agents))
	for i, a := range s.Agents {
		assignments[i] = agents.Assignment{Agent: a, Sessions: perAgent[a.UID]}
	}
	return assignments, perApp
}

// samePlaces reports whether everyone measured and measuring is where they were.
func samePlaces(a, b *inventory.Snapshot) bool {
	return a != nil && maps.Equal(a.Zones, b.Zones) && slices.Equal(a.Agents, b.Agents) && reflect.DeepEqual(a.Apps, b.Apps)
}

var protocols = map[workload.Protocol]api.Protocol{
	workload.STAMP: api.Protocol_PROTOCOL_STAMP,
	workload.UDP:   api.Protocol_PROTOCOL_UDP,
	workload.TCP:   api.Protocol_PROTOCOL_TCP,
	workload.ICMP:  api.Protocol_PROTOCOL_ICMP,
}

// wireSession is the session towards app, whoever measures it. Everything that
// makes it another path is in the id: a pod that moves starts a new session.
func wireSession(app inventory.App, probers map[string]inventory.Agent) (*api.Session, bool) {
	host, probe := app.IP, app.Probe
	if app.NodeReflects {
		beside, ok := probers[app.Node]
		if !ok {
			return nil, false
		}
		host, probe = beside.IP, workload.Probe{Protocol: workload.STAMP, Port: beside.STAMP}
	}
	return &api.Session{
		Id:       app.Pod.String() + " " + probe.String() + " " + host,
		Protocol: protocols[probe.Protocol],
		Host:     host,
		Port:     uint32(probe.Port),
	}, true
}

// observe joins the inventory with what was measured.
func observe(s *inventory.Snapshot, sessions map[plan.PodID][]session, m Measurements, now time.Time) observation {
	o := observation{Observation: plan.Observation{At: now}, measured: map[string]agents.Measurement{}}
	for _, a := range s.Apps {
		app := a.App
		for _, session := range sessions[a.Pod] {
			measured := m.Session(session.id, now)
			o.measured[session.id] = measured
			app.Sessions = append(app.Sessions, plan.Session{ID: session.id, Vantage: session.vantage, Samples: measured.Samples})
		}
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
