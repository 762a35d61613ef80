package controller

import (
	"cmp"
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
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/workload"
)

// session is a path to be measured, and by whom: an agent, or where query is
// set, Prometheus.
type session struct {
	id    string
	agent inventory.Agent
	query string
}

// paths is how one app is measured.
type paths struct {
	sessions []session
	// nodeSessions go to the probe agent on the app's node, from the same vantage
	// points.
	nodeSessions []session
	nobody       string // why there are no sessions
}

// placing decides who measures whom.
type placing struct {
	probers  map[string]inventory.Agent // by node
	vantages []placement.Vantage
	perAgent map[types.UID][]*api.Session
	placed   map[string]*api.Session // by id
	urgent   bool                    // sessions are to say at once when they are late
}

// place decides what each agent is to probe, with k vantage points an app, and
// how each app is measured. Agents without sessions are listed too, since they
// report usage.
func place(s *inventory.Snapshot, k int, urgent bool) ([]agents.Assignment, map[plan.PodID]paths) {
	p := placing{probers: map[string]inventory.Agent{}, perAgent: map[types.UID][]*api.Session{}, placed: map[string]*api.Session{}, urgent: urgent}
	for _, a := range s.Agents {
		if _, twice := p.probers[a.Node]; a.Role == api.Role_ROLE_PROBE && !twice {
			p.probers[a.Node] = a
			p.vantages = append(p.vantages, placement.Vantage{Node: a.Node, Zone: s.Zones[a.Node]})
		}
	}
	perApp := make(map[plan.PodID]paths, len(s.Apps))
	for _, app := range s.Apps {
		perApp[app.Pod] = p.app(app, k)
	}
	assignments := make([]agents.Assignment, len(s.Agents))
	for i, a := range s.Agents {
		assignments[i] = agents.Assignment{Agent: a, Sessions: p.perAgent[a.UID]}
	}
	return assignments, perApp
}

// app places the sessions of one app. Where the agent on its node answers for
// it, the session is its own node session; one that stays on the node has none,
// since it meets no queue.
func (p *placing) app(app *inventory.App, k int) paths {
	if app.Probe.Protocol == workload.Prometheus {
		return paths{sessions: []session{{id: "prometheus " + app.Query.Text, query: app.Query.Text}}}
	}
	beside, isBeside := p.probers[app.Node]
	target := toApp(app)
	if app.NodeReflects {
		if !isBeside {
			return paths{nobody: fmt.Sprintf("no probe agent runs on node %s to answer in the pod's place", app.Node)}
		}
		target = toAgent(beside, app.DSCP)
	}
	nodes := placement.Choose(placement.Target{Key: app.Pod.String(), Node: app.Node, Pinned: app.Pinned}, p.vantages, k)
	var out paths
	for _, node := range nodes {
		measured := p.add(node, target)
		out.sessions = append(out.sessions, measured)
		if node == app.Node {
			continue
		}
		p.allow(measured, app.SLO)
		if isBeside && !app.NodeReflects {
			nodeSession := p.add(node, toAgent(beside, app.DSCP))
			out.nodeSessions = append(out.nodeSessions, nodeSession)
			if p.urgent {
				p.placed[measured.id].NodeSession = nodeSession.id
			}
		}
	}
	switch {
	case len(nodes) > 0:
	case app.Pinned != nil:
		out.nobody = fmt.Sprintf("no probe agent runs on %s, where %s wants it to be measured from", strings.Join(app.Pinned, ", "), workload.AnnotationProbeFrom)
	default:
		out.nobody = "no probe agent runs on any node"
	}
	return out
}

// add has node's agent measure target, once, whoever else asks for the same.
func (p *placing) add(node string, target *api.Session) session {
	agent := p.probers[node]
	id := node + " → " + target.Id
	if p.placed[id] == nil {
		p.placed[id] = &api.Session{
			Id: id, Protocol: target.Protocol, Host: target.Host, Port: target.Port, Dscp: target.Dscp, MeanIntervalUs: target.MeanIntervalUs,
		}
		p.perAgent[agent.UID] = append(p.perAgent[agent.UID], p.placed[id])
	}
	return session{id: id, agent: agent}
}

// allow tells the agent from when on packets are late: for the strictest of the
// apps that share the session.
func (p *placing) allow(of session, slo workload.SLO) {
	if !p.urgent {
		return
	}
	s := p.placed[of.id]
	strictest := func(now uint32, target time.Duration) uint32 {
		us := uint32(min(target.Microseconds(), math.MaxUint32))
		if us == 0 || now != 0 && now < us {
			return now
		}
		return us
	}
	s.LateAboveUs, s.LateRttUs = strictest(s.LateAboveUs, slo.Jitter), strictest(s.LateRttUs, slo.Latency)
}

// queriesOf is what Prometheus is to be asked.
func queriesOf(s *inventory.Snapshot) []promql.Wanted {
	var queries []promql.Wanted
	for _, app := range s.Apps {
		if app.Probe.Protocol == workload.Prometheus {
			queries = append(queries, promql.Wanted{Query: app.Query, Namespace: app.Pod.Namespace, App: cmp.Or(app.Workload.Name, app.Pod.Name)})
		}
	}
	return queries
}

var protocols = map[workload.Protocol]api.Protocol{
	workload.STAMP: api.Protocol_PROTOCOL_STAMP,
	workload.UDP:   api.Protocol_PROTOCOL_UDP,
	workload.TCP:   api.Protocol_PROTOCOL_TCP,
	workload.ICMP:  api.Protocol_PROTOCOL_ICMP,
}

// toApp is the session towards app, whoever measures it. Everything that makes
// it another path is in the id: a pod that moves starts a new session.
func toApp(app *inventory.App) *api.Session {
	s := &api.Session{
		Id:       app.Pod.String() + " " + app.Probe.String() + " " + app.IP + marked(app.DSCP),
		Protocol: protocols[app.Probe.Protocol],
		Host:     app.IP,
		Port:     uint32(app.Probe.Port),
		Dscp:     uint32(app.DSCP),
	}
	if app.Probe.Protocol == workload.TCP {
		s.MeanIntervalUs = uint32(handshakeInterval.Microseconds())
	}
	return s
}

// handshakeInterval is the mean spacing of handshakes, each of which the app has
// to accept: as rare as the law bears. It wants adaptive.minSamples within
// adaptive.stale (6 in 600 ms), and gaps are up to half as long again.
const handshakeInterval = 80 * time.Millisecond

// toAgent is the session towards an agent's reflector: one for all the apps on
// its node whose probes look the same to the network.
func toAgent(a inventory.Agent, dscp workload.DSCP) *api.Session {
	probe := workload.Probe{Protocol: workload.STAMP, Port: a.STAMP}
	return &api.Session{
		Id:       "agent on " + a.Node + " " + probe.String() + " " + a.IP + marked(dscp),
		Protocol: protocols[probe.Protocol],
		Host:     a.IP,
		Port:     uint32(probe.Port),
		Dscp:     uint32(dscp),
	}
}

// marked is the part of an id that tells a codepoint from default forwarding.
func marked(dscp workload.DSCP) string {
	if dscp == 0 {
		return ""
	}
	return " " + dscp.String()
}

// samePlaces reports whether everyone measured and measuring is where they were.
func samePlaces(a, b *inventory.Snapshot) bool {
	return a != nil && maps.Equal(a.Zones, b.Zones) && slices.Equal(a.Agents, b.Agents) && slices.EqualFunc(a.Apps, b.Apps, func(x, y *inventory.App) bool { return x == y || reflect.DeepEqual(x, y) })
}
