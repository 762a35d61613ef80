package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// Only what is in enforce is written; what is in observe is decided and shown.
func TestModes(t *testing.T) {
	const enforce, observe = workload.Enforce, workload.Observe
	for _, tt := range []struct {
		name          string
		senders       []*inventory.Sender
		written       []string
		observedShown []string
	}{
		{"enforce", []*inventory.Sender{sender("a", enforce)}, []string{"a"}, nil},
		{"observe", []*inventory.Sender{sender("a", observe)}, nil, []string{"factory/a"}},
		{"one of each", []*inventory.Sender{sender("a", enforce), sender("b", observe)}, []string{"a"}, []string{"factory/b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{app("robot", enforce)}, Senders: tt.senders}}
				shown := run(t, s.loop(Settings{Law: constant{plan.Violation, 50 * mbit}, Vantages: 2}), time.Second)
				if got := submittedPods(s.submitted); !slices.Equal(got, tt.written) {
					t.Errorf("written %v, want %v", got, tt.written)
				}
				var observed []string
				for _, d := range shown.Decisions {
					for _, limit := range d.Limits {
						if d.Observed && !slices.Contains(observed, limit.Pod) {
							observed = append(observed, limit.Pod)
						}
					}
				}
				if !slices.Equal(observed, tt.observedShown) {
					t.Errorf("shown as observe only: %v, want %v", observed, tt.observedShown)
				}
			})
		})
	}
}

// A law that says the same every quarter of a second is reported once.
func TestJournalSaysThingsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{
			Apps:     []*inventory.App{app("robot", workload.Enforce)},
			Problems: []inventory.Problem{{Object: "pod factory/x", Text: "unreadable"}},
		}}
		shown := run(t, s.loop(Settings{Law: constant{plan.Unresponsive, 0}, Vantages: 2}), 10*time.Second)
		if len(shown.Decisions) != 1 || len(s.events) != 1 {
			t.Errorf("%d decisions and %d events in 10 s of the same, want 1 and 1", len(shown.Decisions), len(s.events))
		}
		if !strings.HasPrefix(s.events[0], "Unresponsive: jitter is 3ms where 1ms is asked for") {
			t.Errorf("event %q", s.events[0])
		}
		if n := strings.Count(s.log.String(), "not taken as it is written"); n != 1 {
			t.Errorf("the problem was logged %d times, want once", n)
		}
	})
}

// Nothing of what is wanted in observe mode is ever in force, so a law wants it
// again four times a second: that is one decision.
func TestWhatIsOnlyObservedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{
			Apps: []*inventory.App{app("robot", workload.Observe)}, Senders: []*inventory.Sender{sender("telemetry", workload.Observe)},
		}}
		shown := run(t, s.loop(Settings{Law: constant{plan.Violation, 50 * mbit}, Vantages: 2}), 10*time.Second)
		if len(shown.Decisions) != 1 || len(shown.Decisions[0].Limits) != 1 {
			t.Errorf("%d decisions in 10 s of the same", len(shown.Decisions))
		}
		if n := strings.Count(s.log.String(), "msg=limit"); n != 1 {
			t.Errorf("the limit was logged %d times:\n%s", n, s.log.String())
		}
	})
}

// Loss is a share and not a time; an endpoint of the static targets is no object
// that could have Events.
func TestEventsOfLoss(t *testing.T) {
	robot, plc := app("robot", workload.Enforce), app("plc", workload.Enforce)
	robot.SLO = workload.SLO{Loss: 0.001}
	plc.Pod.Namespace = inventory.StaticNamespace
	s := &stage{}
	for _, a := range []*inventory.App{robot, plc} {
		r := plan.Reason{Bottleneck: plan.Uplink("n1"), Action: plan.Restore, Cause: plan.Unresponsive, App: a.Pod, Signal: "loss", Ratio: 0.0321}
		announce(s, &inventory.Snapshot{Apps: []*inventory.App{robot, plc}}, r)
	}
	if len(s.events) != 1 || !strings.HasPrefix(s.events[0], "Unresponsive: loss is 3.21 % where 0.1 % is asked for") || !strings.Contains(s.events[0], "not best-effort traffic") {
		t.Errorf("events %q", s.events)
	}
}

// A host that is busy for a moment is nobody's news; one that stays so is told once. So
// is a target that cannot be met.
func TestTellsOfABusyHostThatStaysSo(t *testing.T) {
	for _, tt := range []struct {
		cause plan.Cause
		lasts time.Duration
		want  int
		says  string
	}{
		{plan.NotNetwork, 2 * time.Second, 0, ""}, {plan.NotNetwork, 10 * time.Second, 1, "NotNetwork: "},
		{plan.CannotMeet, 2 * time.Second, 0, ""}, {plan.CannotMeet, 10 * time.Second, 1, "CannotMeet: jitter cannot be met: the idle path shows 3ms where 1ms is asked for"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{app("robot", workload.Enforce)}}}
			shown := run(t, s.loop(Settings{Law: constant{tt.cause, 0}, Vantages: 2}), tt.lasts)
			if len(shown.Decisions) != tt.want || len(s.events) != tt.want || tt.want > 0 && !strings.HasPrefix(s.events[0], tt.says) {
				t.Errorf("%s: %d decisions and %q after %v, want %d of each, %q", tt.cause, len(shown.Decisions), s.events, tt.lasts, tt.want, tt.says)
			}
		})
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	var j journal
	for i := range 3 * maxDecisions {
		j.add(status.Decision{Reason: status.Reason{Samples: i}})
	}
	if len(j.decisions) != maxDecisions || j.decisions[0].Samples != 3*maxDecisions-1 {
		t.Errorf("%d decisions, newest %d", len(j.decisions), j.decisions[0].Samples)
	}
}

// However much is misspelt at once, as by a tenant who means to, what one step logs of it is
// bounded; the status has all of it.
func TestWhatIsLoggedOfProblemsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{}}
		for i := range 4 * mostLines {
			s.snapshot.Problems = append(s.snapshot.Problems, inventory.Problem{Object: fmt.Sprintf("pod factory/p-%04d", i), Text: "annotation detnet.dev/max-jiter is ignored"})
		}
		shown := run(t, s.loop(Settings{Law: constant{plan.Calm, 0}, Vantages: 2}), 5*Period)
		if n := strings.Count(s.log.String(), "max-jiter"); n != mostLines || !strings.Contains(s.log.String(), fmt.Sprintf("lines_left_out=%d", 3*mostLines)) {
			t.Errorf("%d lines are logged at once, want %d, and how many there are besides", n, mostLines)
		}
		if len(shown.Problems) != 4*mostLines {
			t.Errorf("the status has %d problems", len(shown.Problems))
		}
	})
}

// However many are limited at once, what one step logs is bounded; all of them are told.
func TestWhatOneStepLogsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{app("robot", workload.Enforce)}}}
		for i := range 2 * mostLines {
			s.snapshot.Senders = append(s.snapshot.Senders, sender(fmt.Sprintf("pod-%04d", i), workload.Enforce))
		}
		run(t, s.loop(Settings{Law: constant{plan.Violation, 50 * mbit}, Vantages: 2}), Period/2)
		if n := strings.Count(s.log.String(), "msg=limit"); n != mostLines-1 || strings.Count(s.log.String(), "msg=decision") != 1 || !strings.Contains(s.log.String(), fmt.Sprintf("lines_left_out=%d", mostLines+1)) {
			t.Errorf("%d limits logged at once, want %d and their decision:\n%.500s", n, mostLines-1, &s.log)
		}
		if n := len(submittedPods(s.submitted)); n != 2*mostLines {
			t.Errorf("%d pods limited, want %d", n, 2*mostLines)
		}
	})
}

func TestSessions(t *testing.T) {
	probe := func(node string) inventory.Agent {
		return inventory.Agent{UID: "probe-" + "uid-of-" + "x", Role: api.Role_ROLE_PROBE, Node: node, IP: "10.1.0." + node, STAMP: 8620}
	}
	one, two, three := probe("1"), probe("2"), probe("3")
	one.UID, two.UID, three.UID = "p1", "p2", "p3"
	counter := inventory.Agent{UID: "n1", Role: api.Role_ROLE_NODE, Node: "1"}
	robot := app("robot", workload.Enforce)
	robot.Node, robot.DSCP = "1", 46
	beside := app("beside", workload.Enforce)
	beside.Node, beside.NodeReflects, beside.Pinned = "2", true, []string{"3"}
	lonely := app("lonely", workload.Enforce)
	lonely.Node, lonely.NodeReflects = "9", true

	pinned := app("pinned", workload.Enforce)
	pinned.Pinned = []string{"7"}
	local := app("local", workload.Enforce)
	local.Node, local.Pinned = "2", []string{"2"}

	assignments, perApp := place(&inventory.Snapshot{
		Agents: []inventory.Agent{one, two, three, counter},
		Apps:   []*inventory.App{beside, lonely, local, pinned, robot},
	}, 2, true)
	for _, tt := range []struct {
		app                    *inventory.App
		sessions, nodeSessions int
		nobody                 string
	}{
		{robot, 2, 2, ""},
		{beside, 1, 0, ""}, // is its own node session
		{local, 1, 0, ""},  // never leaves the node
		{lonely, 0, 0, "no probe agent runs on node 9"},
		{pinned, 0, 0, "no probe agent runs on 7, where detnet.dev/probe-from"},
	} {
		got := perApp[tt.app.Pod]
		if len(got.sessions) != tt.sessions || len(got.nodeSessions) != tt.nodeSessions || !strings.HasPrefix(got.nobody, tt.nobody) || (got.nobody == "") != (tt.nobody == "") {
			t.Errorf("%s: %d sessions and %d node sessions, %q; want %d, %d, %q", tt.app.Pod, len(got.sessions), len(got.nodeSessions), got.nobody, tt.sessions, tt.nodeSessions, tt.nobody)
		}
	}
	var hosts []string
	for _, a := range assignments {
		if a.UID == "n1" && len(a.Sessions) > 0 {
			t.Errorf("a node agent is to probe %v", a.Sessions)
		}
		for _, s := range a.Sessions {
			hosts = append(hosts, fmt.Sprintf("%s %s %s:%d %d", a.Node, s.Protocol, s.Host, s.Port, s.Dscp))
		}
	}
	slices.Sort(hosts)
	want := []string{
		"2 PROTOCOL_STAMP 10.1.0.1:8620 46", "2 PROTOCOL_UDP 10.0.0.9:5201 0", "2 PROTOCOL_UDP 10.0.0.9:5201 46",
		"3 PROTOCOL_STAMP 10.1.0.1:8620 46", "3 PROTOCOL_STAMP 10.1.0.2:8620 0", "3 PROTOCOL_UDP 10.0.0.9:5201 46",
	}
	if !slices.Equal(hosts, want) {
		t.Errorf("sessions %q, want %q", hosts, want)
	}
}

// A node session goes the way of the app's own: by the same family of IP.
func TestNodeSessionsAreOfTheAppsFamily(t *testing.T) {
	for name, tt := range map[string]struct{ ip, second, app, want string }{
		"the only family":        {"10.1.0.1", "", "10.0.0.9", "10.1.0.1"},
		"the primary family":     {"10.1.0.1", "fd00::1", "10.0.0.9", "10.1.0.1"},
		"the second family":      {"10.1.0.1", "fd00::1", "fd00::9", "fd00::1"},
		"IPv4 where IPv6 leads":  {"fd00::1", "10.1.0.1", "10.0.0.9", "10.1.0.1"},
		"one that it has not":    {"10.1.0.1", "", "fd00::9", "10.1.0.1"},
		"an app known by a name": {"fd00::1", "10.1.0.1", "robot.factory.svc", "fd00::1"},
	} {
		beside := inventory.Agent{Node: "1", IP: tt.ip, IP2: tt.second, STAMP: 862}
		if got := toAgent(beside, &inventory.App{IP: tt.app}).Host; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Handshakes go to apps that ask for them, and no oftener than the law needs.
func TestHandshakesAreRare(t *testing.T) {
	plc := app("plc", workload.Enforce)
	plc.Node, plc.Probe = "1", workload.Probe{Protocol: workload.TCP, Port: 102}
	assignments, _ := place(&inventory.Snapshot{
		Agents: []inventory.Agent{{UID: "2", Role: api.Role_ROLE_PROBE, Node: "2", IP: "10.1.0.2", STAMP: 862}},
		Apps:   []*inventory.App{plc},
	}, 1, true)
	sessions := assignments[0].Sessions
	if len(sessions) != 1 || sessions[0].Protocol != api.Protocol_PROTOCOL_TCP || sessions[0].MeanIntervalUs != 80_000 {
		t.Errorf("sessions %v, want handshakes each 80 ms", sessions)
	}
	most := law.DefaultConfig().Adaptive.Sense
	if longest := time.Duration(most.MinSamples-1) * handshakeInterval * 3 / 2; longest > most.Stale {
		t.Errorf("%d handshakes may take %v: the law is blind after %v", most.MinSamples, longest, most.Stale)
	}
}

// However many apps are on a node, a vantage point measures the way to its agent
// once.
func TestNodeSessionsAreShared(t *testing.T) {
	var s inventory.Snapshot
	for _, node := range []string{"1", "2", "3"} {
		s.Agents = append(s.Agents, inventory.Agent{UID: types.UID(node), Role: api.Role_ROLE_PROBE, Node: node, IP: "10.1.0." + node, STAMP: 862})
	}
	for i := range 50 {
		robot := app(fmt.Sprint("robot-", i), workload.Enforce)
		robot.Node, robot.IP, robot.NodeReflects = "1", fmt.Sprint("10.0.0.", i), i%10 == 0
		robot.DSCP = workload.DSCP(i % 2)
		s.Apps = append(s.Apps, robot)
	}
	assignments, _ := place(&s, 2, true)
	for _, a := range assignments {
		stamp, ids := 0, map[string]bool{}
		for _, session := range a.Sessions {
			if session.Protocol == api.Protocol_PROTOCOL_STAMP {
				stamp++
			}
			ids[session.Id] = true
		}
		if want := min(len(a.Sessions), 2); stamp != want || len(ids) != len(a.Sessions) {
			t.Errorf("the agent on %s measures the way to another agent %d times, want %d, one for each codepoint; %d ids of %d sessions", a.Node, stamp, want, len(ids), len(a.Sessions))
		}
	}
}

// What the node session saw reaches the law beside what the app's session saw, and
// people see both.
func TestNodeSessionIsObservedAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		robot := app("robot", workload.Enforce)
		robot.Node = "1"
		s := &nodeSessionStage{stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{robot}, Agents: []inventory.Agent{
			{UID: "1", Role: api.Role_ROLE_PROBE, Node: "1", IP: "10.1.0.1", STAMP: 862},
			{UID: "2", Role: api.Role_ROLE_PROBE, Node: "2", IP: "10.1.0.2", STAMP: 862},
		}}}}
		l := s.loop(Settings{Law: constant{plan.Calm, 0}, Vantages: 2})
		l.Measurements = s
		shown := run(t, l, time.Second)
		session := shown.Apps[0].Sessions[0]
		if session.Measured.JitterMs != 5 || session.NodeSession == nil || session.NodeSession.Measured.JitterMs != 0 || session.From != "2" {
			t.Errorf("shown %+v with node session %+v, want 5 ms of jitter that the node session does not see", session, session.NodeSession)
		}
		_, placed := new(placing).place(s.snapshot, 2, true)
		o := (&term{loop: l, paths: placed, look: agents.Look{Sessions: sessionsOf(placed, s.snapshot.Apps)}}).observe(s.snapshot, time.Now())
		if w := o.Apps[0].NodeSessions; len(w) != 1 || w[0].Vantage != "2" || len(w[0].Samples) != 21 {
			t.Errorf("node sessions %+v, want one from node 2 with its samples", w)
		}
	})
}

// A query's answers are observed with their lag, and shown as of the newest; one
// that has none is blind and says why.
func TestQueryIsObservedAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		robot := app("robot", workload.Enforce)
		robot.Probe = workload.Probe{Protocol: workload.Prometheus}
		robot.Query = workload.Query{Text: "max(x[1m])", Range: time.Minute, Selectors: []string{"x"}}
		twin := robot
		twin.Pod.Name = "twin"
		s := &stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{robot, twin}}}
		old := time.Now().Add(-time.Minute)
		s.answer = promql.Answer{Lag: 90 * time.Second, Samples: []plan.Sample{
			{At: plan.At(old), RTT: time.Millisecond}, {At: plan.At(old.Add(50 * time.Second)), RTT: 4 * time.Millisecond},
		}}
		l := s.loop(Settings{Law: constant{plan.Calm, 0}, Vantages: 2})
		got := run(t, l, time.Second).Apps[0]
		session := got.Sessions[0]
		if len(s.asked) == 0 || s.asked[0].Text != robot.Query.Text {
			t.Errorf("Prometheus is asked %v", s.asked)
		}
		if got.State != status.Violated || got.ViolationRatio != 1 || session.Measured.JitterMs != 3 || session.LagMs != 90_000 || session.From != "Prometheus" || got.Query != robot.Query.Text {
			t.Errorf("shown %+v, want 3 ms of jitter, violated, 90 s late", got)
		}
		_, placed := new(placing).place(s.snapshot, 2, true)
		o := (&term{loop: l, paths: placed, look: agents.Look{Sessions: sessionsOf(placed, s.snapshot.Apps)}}).observe(s.snapshot, time.Now())
		if seen := o.Apps[1].Sessions; len(seen) != 1 || seen[0].Lag != 90*time.Second || len(seen[0].Samples) != 2 {
			t.Errorf("observed %+v", seen)
		}
		s.answer = promql.Answer{Lag: 90 * time.Second, Error: "no data"}
		if got := run(t, l, time.Second).Apps[0]; got.State != status.Blind || got.Sessions[0].Error != "no data" {
			t.Errorf("without data: %+v, want blind", got)
		}
	})
}

// nodeSessionStage measures 5 ms above the base to apps and none to agents.
type nodeSessionStage struct{ stage }

func (s *nodeSessionStage) Look(l *agents.Look, now time.Time) { look(s, l, now) }

func (s *nodeSessionStage) Session(id string, now time.Time) agents.Measurement {
	var m agents.Measurement
	for i := 20; i >= 0; i-- {
		x := plan.Sample{At: plan.At(now.Add(-time.Duration(i) * 20 * time.Millisecond)), RTT: time.Millisecond}
		if !strings.Contains(id, "agent on") && i < 15 {
			x.RTT = 6 * time.Millisecond
		}
		m.Samples = append(m.Samples, x)
	}
	return m
}

// Two agents on a node for a moment, as in a rolling update, must not break a
// scrape.
func TestMetricsWithTwoAgentsOnANode(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	a := status.Agent{Pod: "detnet/a", Node: "worker-1", Role: "probe"}
	b := a
	b.Pod = "detnet/b"
	m := NewMetrics(reg, func() *status.Status {
		return &status.Status{Leader: true, Agents: []status.Agent{a, b, b}, Apps: []status.App{{Pod: "x", State: status.OK}}}
	})
	if _, err := (prometheus.Gatherers{m.Gatherer(reg)}).Gather(); err != nil {
		t.Error(err)
	}
}

// However many pods there are, the series of a scrape are bounded by the nodes, and
// what is summed up over them stays the same.
func TestSeriesAreBounded(t *testing.T) {
	for pods, want := range map[int]int{mostPods: mostPods, mostPods + 1: 10} {
		all := make([]status.Sender, pods)
		for i := range all {
			all[i] = status.Sender{Pod: fmt.Sprint("factory/bulk-", i), Node: fmt.Sprint("worker-", i%10), LimitBps: mbit, UsageBps: mbit, Known: true}
		}
		reg := prometheus.NewPedanticRegistry()
		m := NewMetrics(reg, func() *status.Status { return &status.Status{Leader: true, Senders: all} })
		families, err := m.Gatherer(reg).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if name := f.GetName(); name != "detnet_egress_limit_bits_per_second" && name != "detnet_egress_usage_bits_per_second" {
				continue
			}
			sum := 0.0
			for _, m := range f.Metric {
				sum += m.GetGauge().GetValue()
			}
			if len(f.Metric) != want || sum != float64(pods)*1e6 {
				t.Errorf("%d pods: %s has %d series of together %v, want %d", pods, f.GetName(), len(f.Metric), sum, want)
			}
		}
	}
}

// What an app's owner reads when there is nothing left to take is true of those
// who could take it.
// A floor is the least that is written, unless the law says that it does not hold.
func TestAFloorHoldsUnlessTheLawSaysOtherwise(t *testing.T) {
	s := &inventory.Sender{Sender: plan.Sender{Min: 10 * bitrate.Mbit, Max: 100 * bitrate.Mbit}}
	for _, tt := range []struct {
		limit plan.Limit
		want  bitrate.Rate
	}{
		{plan.Limit{To: 3 * bitrate.Mbit}, 10 * bitrate.Mbit},
		{plan.Limit{To: 3 * bitrate.Mbit, Below: true}, 3 * bitrate.Mbit},
		{plan.Limit{To: 0, Below: true}, bitrate.Min},
		{plan.Limit{To: 200 * bitrate.Mbit, Below: true}, 100 * bitrate.Mbit},
	} {
		if got := changeOf(s, tt.limit).To; got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.limit, got, tt.want)
		}
	}
}

func TestAtFloorNamesIdleLimits(t *testing.T) {
	floor, idle, elsewhere := sender("floor", workload.Enforce), sender("idle", workload.Enforce), sender("elsewhere", workload.Enforce)
	floor.Limit, idle.Limit, elsewhere.Node = floor.Min, 200*mbit, "worker-2"
	s := &inventory.Snapshot{Senders: []*inventory.Sender{elsewhere, floor, idle}}
	if got := atFloor(s, plan.Uplink("worker-1")); !strings.Contains(got, "1 of 2") || !strings.Contains(got, "200M") {
		t.Errorf("%q, want one of two at the floor and 200M that nobody sends", got)
	}
	s.Senders = s.Senders[1:2]
	if got := atFloor(s, plan.Uplink("worker-1")); !strings.Contains(got, "all 1") {
		t.Errorf("%q, want all", got)
	}
}

// No law is shown a pod whose limit can't be changed, and everybody is told of it.
func TestRefusedPodsAreNotTheLaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		legacy, good := sender("legacy", workload.Enforce), sender("upload", workload.Enforce)
		legacy.UID = "legacy"
		s := &stage{snapshot: &inventory.Snapshot{Apps: []*inventory.App{app("robot", workload.Enforce)}, Senders: []*inventory.Sender{legacy, good}}}
		l := s.loop(Settings{Law: constant{plan.Violation, 50 * mbit}, Vantages: 2})
		l.Refused = func() map[types.UID]string { return map[types.UID]string{"legacy": "you must provide the label owner"} }
		shown := run(t, l, time.Second)
		if got := submittedPods(s.submitted); !slices.Equal(got, []string{"upload"}) {
			t.Errorf("written %v, want the other pod alone", got)
		}
		if shown.Senders[0].Refused == "" || shown.Senders[1].Refused != "" {
			t.Errorf("shown as refused: %q, %q; want the first", shown.Senders[0].Refused, shown.Senders[1].Refused)
		}
	})
}
