package controller

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
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

// toAgent is the session towards an agent's reflector, by the family of IP by which
// app is measured: one for all the apps on its node whose probes look the same to
// the network.
func toAgent(a inventory.Agent, app *inventory.App) *api.Session {
	probe := workload.Probe{Protocol: workload.STAMP, Port: a.STAMP}
	host := a.IP
	if sameFamily(a.IP2, app.IP) {
		host = a.IP2
	}
	return &api.Session{
		Id:       "agent on " + a.Node + " " + probe.String() + " " + host + marked(app.DSCP),
		Protocol: protocols[probe.Protocol],
		Host:     host,
		Port:     uint32(probe.Port),
		Dscp:     uint32(app.DSCP),
	}
}

// sameFamily reports whether both are addresses, and of one family of IP.
func sameFamily(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is6() == y.Is6()
}

// marked is the part of an id that tells a codepoint from default forwarding.
func marked(dscp workload.DSCP) string {
	if dscp == 0 {
		return ""
	}
	return " " + dscp.String()
}
