package controller

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// searching is a law in a phase at one bottleneck, and at rest at another.
type searching struct {
	name  string
	at    plan.Bottleneck
	phase plan.Phase
}

func (s searching) Name() string { return s.name }

func (s searching) Step(state law.State, v sense.View) (law.State, plan.Plan) {
	return state, plan.Plan{At: v.At, Reasons: []plan.Reason{{Bottleneck: s.at, Phase: s.phase}, {Bottleneck: plan.Uplink("worker-3"), Phase: plan.Open}}}
}

// tight is a law that acts upon a tenth of what is allowed.
func tight(t *testing.T) law.Law {
	c := law.DefaultConfig()
	c.Adaptive.Sense.Soft = 0.1
	l, err := law.New(law.Adaptive, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// unsure is a law that waits for what is sent by now before its first cut.
type unsure struct{ searching }

func (u unsure) Step(state law.State, v sense.View) (law.State, plan.Plan) {
	state, p := u.searching.Step(state, v)
	p.Reasons[0].Cause = plan.Confirming
	return state, p
}

// Agents report less often while nothing is decided about their node, nor about the
// apps that they measure.
func TestReportsArePacedByWhatIsDecided(t *testing.T) {
	agent := func(uid, node string, role api.Role) inventory.Agent {
		return inventory.Agent{UID: types.UID(uid), Node: node, Role: role, IP: "10.0.0." + uid, STAMP: 862}
	}
	snapshot := &inventory.Snapshot{Apps: []*inventory.App{app("plc", workload.Enforce)}, Agents: []inventory.Agent{
		agent("1", "worker-1", api.Role_ROLE_PROBE), agent("2", "worker-2", api.Role_ROLE_PROBE), agent("3", "worker-1", api.Role_ROLE_NODE), agent("4", "worker-2", api.Role_ROLE_NODE),
	}}
	snapshot.Apps[0].Node = "worker-1"
	for _, tt := range []struct {
		name string
		law  law.Law
		calm time.Duration
		busy []types.UID
	}{
		{"at rest", searching{law.Adaptive, plan.Uplink("worker-1"), plan.Open}, calmReports, nil},
		{"the app's node", searching{law.Adaptive, plan.Uplink("worker-1"), plan.Cutting}, calmReports, []types.UID{"1", "2", "3"}},
		{"a first cut that waits", unsure{searching{law.Adaptive, plan.Uplink("worker-2"), plan.Open}}, calmReports, []types.UID{"2", "4"}},
		{"another node", searching{law.Adaptive, plan.Uplink("worker-2"), plan.Settled}, calmReports, []types.UID{"2", "4"}},
		{"the cluster", searching{law.Adaptive, plan.Cluster, plan.Trying}, 0, nil},
		{"a law that acts on less than agents tell", tight(t), 0, nil},
		{"a law of the original", searching{law.AIMD, plan.Uplink("worker-1"), ""}, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{snapshot: snapshot}
				run(t, s.loop(Settings{Law: tt.law, Vantages: 2}), time.Second)
				want := map[types.UID]bool{}
				for _, uid := range tt.busy {
					want[uid] = true
				}
				if s.paced.Calm != tt.calm || len(s.paced.Busy)+len(want) > 0 && !maps.Equal(s.paced.Busy, want) {
					t.Errorf("reports each %v but of %v; want %v, %v", s.paced.Calm, s.paced.Busy, tt.calm, want)
				}
			})
		})
	}
}

// Who has become late tells at once, and again as soon as all who are there could be read.
func TestWhatIsToldAtOnceAgainIsNoMoreThanIsRead(t *testing.T) {
	for n, want := range map[int]time.Duration{8: 0, 80: 20 * time.Millisecond, 200: 50 * time.Millisecond, 400: Period, 10_000: Period} {
		s := &stage{}
		m := &term{loop: &Loop{Measurements: s}, settings: &Settings{Law: searching{name: law.Adaptive}}, snapshot: &inventory.Snapshot{Agents: make([]inventory.Agent, n)}}
		m.pace(nil, time.Now())
		if s.paced.Least != want || s.paced.Strained {
			t.Errorf("%d agents tell again after %v at the least, strained: %v; want %v", n, s.paced.Least, s.paced.Strained, want)
		}
	}
}

// Agents that join while all is calm are told too.
func TestWhoJoinsTellsAgainNoOftener(t *testing.T) {
	s := &stage{}
	m := &term{loop: &Loop{Measurements: s}, settings: &Settings{Law: searching{name: law.Adaptive}}, snapshot: &inventory.Snapshot{}}
	for _, n := range []int{0, 400} {
		m.snapshot = &inventory.Snapshot{Agents: make([]inventory.Agent, n)}
		m.pace(nil, time.Now())
	}
	if s.paced.Least != Period {
		t.Errorf("400 agents, none of whom was there before, tell again after %v", s.paced.Least)
	}
}

// While nobody has anything to tell and nothing is searched for, decisions are as rare
// as reports; else they keep their pace.
func TestDecisionsRestWhileAllIsCalm(t *testing.T) {
	for _, tt := range []struct {
		name  string
		calm  bool
		phase plan.Phase
		want  int
	}{
		{"calm", true, plan.Open, 2},
		{"somebody tells", false, plan.Open, 11},
		{"searching", true, plan.Trying, 11},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}}, calm: tt.calm}
			n := 0
			run(t, s.loop(Settings{Law: counted{searching{law.Adaptive, plan.Uplink("worker-1"), tt.phase}, &n}}), 10*Period+Period/2)
			if n != tt.want {
				t.Errorf("%s: %d decisions in ten periods, want %d", tt.name, n, tt.want)
			}
		})
	}
}

// What agents measured is taken in between rounds: a delay that is seen only then is known in the next round.
func TestWhatIsMeasuredIsTakenInBetweenRounds(t *testing.T) {
	for _, calm := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			robot := app("robot", workload.Enforce)
			robot.Node = "1"
			s := &nodeSessionStage{stage{calm: calm, snapshot: &inventory.Snapshot{Apps: []*inventory.App{robot}, Agents: []inventory.Agent{
				{UID: "1", Role: api.Role_ROLE_PROBE, Node: "1", IP: "10.1.0.1", STAMP: 862},
				{UID: "2", Role: api.Role_ROLE_PROBE, Node: "2", IP: "10.1.0.2", STAMP: 862},
			}}}}
			const least = 7 * time.Microsecond
			s.news = []agents.News{{Session: 0, Measurement: agents.Measurement{Samples: []plan.Sample{{At: plan.At(time.Now().Add(time.Hour)), RTT: least}}}}}
			var seen plan.Base
			l := s.loop(Settings{Law: shown{searching{law.Adaptive, plan.Uplink("1"), plan.Open}, &seen}, Vantages: 2})
			l.Measurements = s
			run(t, l, 2*time.Second)
			if known := seen.Delay == least; known != calm {
				t.Errorf("calm %v: the least delay is %v, want %v where rounds are seldom and only there", calm, seen.Delay, least)
			}
		})
	}
}

// shown notes the base of the first session.
type shown struct {
	searching
	base *plan.Base
}

func (l shown) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	*l.base = v.Apps[0].Sessions[0].Base
	return l.searching.Step(s, v)
}

// That nothing new comes is no blindness where agents were asked to pause, and is where
// they were asked to hurry and had the time to.
func TestNothingNewIsExpectedOfWhoPauses(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	node, other := plan.Uplink("worker-1"), plan.Uplink("worker-2")
	agent := func(uid, node string) inventory.Agent { return inventory.Agent{UID: types.UID(uid), Node: node} }
	term := func(law string) *term {
		return &term{
			loop:     &Loop{Measurements: &stage{}},
			settings: &Settings{Law: searching{name: law}},
			snapshot: &inventory.Snapshot{Agents: []inventory.Agent{agent("a1", "worker-1"), agent("a2", "worker-2")}},
		}
	}
	decided := func(at plan.Bottleneck, phase plan.Phase) []outcome {
		return []outcome{{Plan: plan.Plan{Reasons: []plan.Reason{{Bottleneck: at, Phase: phase}}}}}
	}
	want := func(b *busy, after, one, two time.Duration) {
		t.Helper()
		if got := b.ofAgent("a1", now.Add(after)); got != one || got != b.ofNode("worker-1", now.Add(after)) {
			t.Errorf("after %v the first pauses for %v, want %v", after, got, one)
		}
		if got := b.ofAgent("a2", now.Add(after)); got != two || got != b.ofNode("worker-2", now.Add(after)) {
			t.Errorf("after %v the second pauses for %v, want %v", after, got, two)
		}
	}
	m := term(law.Adaptive)
	want(&m.busy, 0, 0, 0) // nobody was asked yet
	m.pace(decided(node, plan.Open), now)
	want(&m.busy, 0, calmReports, calmReports)
	m.pace(decided(node, plan.Cutting), now)
	want(&m.busy, catchUp-1, calmReports, calmReports)
	want(&m.busy, catchUp, 0, calmReports)
	m.pace(append(decided(node, plan.Settled), decided(other, plan.Cutting)...), now.Add(time.Second))
	want(&m.busy, time.Second, 0, calmReports)
	m.pace(decided(plan.Cluster, plan.Cutting), now.Add(2*time.Second))
	want(&m.busy, 2*time.Second+catchUp, 0, 0)
	m.pace(decided(node, plan.Open), now.Add(3*time.Second))
	want(&m.busy, 3*time.Second, calmReports, calmReports)

	o := term(law.AIMD)
	o.pace(decided(node, plan.Open), now)
	want(&o.busy, 0, 0, 0)
}

// counted counts the steps of a law.
type counted struct {
	searching
	n *int
}

func (c counted) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	*c.n++
	return c.searching.Step(s, v)
}
