package controller

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/placement"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// placing decides who measures whom, and remembers it: an app that has changed costs its
// own sessions, and the lists of those agents that run them. The zero value has placed
// nobody.
type placing struct {
	terms    terms
	probers  map[string]inventory.Agent // by node
	vantages []placement.Vantage
	apps     map[plan.PodID]*placed
	sessions map[types.UID][]*api.Session // of agents that have any; not changed once they are there
	turn     int
}

// terms are what places every app anew when they change.
type terms struct {
	agents   []inventory.Agent
	zones    map[string]string
	vantages int  // an app
	urgent   bool // sessions are to say at once when they are late
}

func (a terms) same(b terms) bool {
	return a.vantages == b.vantages && a.urgent == b.urgent && sameAgents(a.agents, b.agents) && maps.Equal(a.zones, b.zones)
}

// placed is one app's share.
type placed struct {
	app   *inventory.App
	paths paths
	asks  []ask
	turn  int // the last one in which there was such an app
}

// ask is a session that an app has an agent run; others may ask for the same.
type ask struct {
	agent       types.UID
	id          string
	target      *api.Session // without the allowance, by another id
	slo         workload.SLO // that its allowance is to serve
	nodeSession string       // its id; "" for none
}

// place decides what each agent is to probe, with k vantage points an app, and
// how each app is measured, in the order of the snapshot. Agents without sessions are
// listed too, since they report usage. The lists of those whom nothing new concerns are
// those of before.
func (p *placing) place(s *inventory.Snapshot, k int, urgent bool) ([]agents.Assignment, []*paths) {
	if is := (terms{s.Agents, s.Zones, k, urgent}); p.apps == nil || !p.terms.same(is) {
		p.begin(is)
	}
	p.turn++
	concerned := map[types.UID]bool{}
	concern := func(of *placed) {
		for i := range of.asks {
			concerned[of.asks[i].agent] = true
		}
	}
	perApp := make([]*paths, len(s.Apps))
	for i, app := range s.Apps {
		now := p.apps[app.Pod]
		if now == nil || !sameApp(now.app, app) {
			if now != nil {
				concern(now)
			}
			now = p.app(app)
			concern(now)
			p.apps[app.Pod] = now
		}
		now.app, now.turn, perApp[i] = app, p.turn, &now.paths
	}
	if len(p.apps) > len(s.Apps) {
		maps.DeleteFunc(p.apps, func(_ plan.PodID, was *placed) bool {
			if was.turn == p.turn {
				return false
			}
			concern(was)
			return true
		})
	}
	p.assign(s.Apps, concerned)
	assignments := make([]agents.Assignment, len(s.Agents))
	for i, a := range s.Agents {
		assignments[i] = agents.Assignment{Agent: a, Sessions: p.sessions[a.UID]}
	}
	return assignments, perApp
}

func (p *placing) begin(is terms) {
	*p = placing{terms: is, probers: map[string]inventory.Agent{}, apps: map[plan.PodID]*placed{}, sessions: map[types.UID][]*api.Session{}}
	for _, a := range is.agents {
		if _, twice := p.probers[a.Node]; a.Role == api.Role_ROLE_PROBE && !twice {
			p.probers[a.Node] = a
			p.vantages = append(p.vantages, placement.Vantage{Node: a.Node, Zone: is.zones[a.Node]})
		}
	}
}

// app places the sessions of one app. Where the agent on its node answers for
// it, the session is its own node session; one that stays on the node has none,
// since it meets no queue.
func (p *placing) app(app *inventory.App) *placed {
	out := &placed{app: app}
	if app.Probe.Protocol == workload.Prometheus {
		out.paths.sessions = []session{{id: "prometheus " + app.Query.Text, query: app.Query.Text}}
		return out
	}
	beside, isBeside := p.probers[app.Node]
	target := toApp(app)
	if app.NodeReflects {
		if !isBeside {
			out.paths.nobody = fmt.Sprintf("no probe agent runs on node %s to answer in the pod's place", app.Node)
			return out
		}
		target = toAgent(beside, app)
	}
	nodes := placement.Choose(placement.Target{Key: app.Pod.String(), Node: app.Node, Pinned: app.Pinned}, p.vantages, p.terms.vantages)
	for _, node := range nodes {
		measured := out.ask(p.probers[node], target)
		out.paths.sessions = append(out.paths.sessions, measured)
		if node == app.Node {
			continue
		}
		own := len(out.asks) - 1
		out.asks[own].slo = app.SLO
		if isBeside && !app.NodeReflects {
			nodeSession := out.ask(p.probers[node], toAgent(beside, app))
			out.paths.nodeSessions = append(out.paths.nodeSessions, nodeSession)
			out.asks[own].nodeSession = nodeSession.id
		}
	}
	switch {
	case len(nodes) > 0:
	case app.Pinned != nil:
		out.paths.nobody = fmt.Sprintf("no probe agent runs on %s, where %s wants it to be measured from", strings.Join(app.Pinned, ", "), workload.AnnotationProbeFrom)
	default:
		out.paths.nobody = "no probe agent runs on any node"
	}
	return out
}

// ask has agent measure target.
func (a *placed) ask(agent inventory.Agent, target *api.Session) session {
	id := agent.Node + " → " + target.Id
	a.asks = append(a.asks, ask{agent: agent.UID, id: id, target: target})
	return session{id: id, agent: agent}
}

// assign lists the sessions of those agents whom something new concerns, each once,
// whoever else asks for the same.
func (p *placing) assign(apps []*inventory.App, concerned map[types.UID]bool) {
	if len(concerned) == 0 {
		return
	}
	for uid := range concerned {
		delete(p.sessions, uid)
	}
	listed := map[string]*api.Session{}
	for _, app := range apps {
		asks := p.apps[app.Pod].asks
		for i := range asks {
			a := &asks[i]
			if !concerned[a.agent] {
				continue
			}
			s := listed[a.id]
			if s == nil {
				t := a.target
				s = &api.Session{Id: a.id, Protocol: t.Protocol, Host: t.Host, Port: t.Port, Dscp: t.Dscp, MeanIntervalUs: t.MeanIntervalUs}
				listed[s.Id] = s
				p.sessions[a.agent] = append(p.sessions[a.agent], s)
			}
			if p.terms.urgent {
				a.allow(s)
			}
		}
	}
}

// allow notes in a session how much later than usual is too late: for the strictest of
// the apps that share it.
func (a *ask) allow(s *api.Session) {
	strictest := func(now uint32, target time.Duration) uint32 {
		us := uint32(min(target.Microseconds(), math.MaxUint32))
		if us == 0 || now != 0 && now < us {
			return now
		}
		return us
	}
	s.LateAboveUs, s.LateRttUs = strictest(s.LateAboveUs, a.slo.Jitter), strictest(s.LateRttUs, a.slo.Latency)
	if a.nodeSession != "" {
		s.NodeSession = a.nodeSession
	}
}

// samePlaces reports whether everyone measured and measuring is where they were.
func samePlaces(a, b *inventory.Snapshot) bool {
	return a != nil && sameAgents(a.Agents, b.Agents) && slices.EqualFunc(a.Apps, b.Apps, sameApp) && maps.Equal(a.Zones, b.Zones)
}

func sameApp(a, b *inventory.App) bool { return a == b || reflect.DeepEqual(a, b) }

func sameAgents(a, b []inventory.Agent) bool { return sameList(a, b) || slices.Equal(a, b) }

// sameList reports whether a list is the one of before.
func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
