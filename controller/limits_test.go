package controller

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

func numbered(s *stage, settings Settings) *Loop {
	l := s.loop(settings)
	l.Term = func(context.Context) (uint64, error) { return 7, nil }
	return l
}

var nodeAgent = inventory.Agent{Node: "worker-1", Role: api.Role_ROLE_NODE, UID: "agent-1"}

// What the law decides goes down the stream and into the record under one number,
// and a law that wants the same again gives it no other.
func TestBothRoadsCarryOneDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{
			snapshot: &inventory.Snapshot{Agents: []inventory.Agent{nodeAgent}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}},
			held:     map[string]agents.Held{"telemetry": {Rate: 100 * mbit, At: time.Now()}},
		}
		run(t, numbered(s, Settings{Law: constant{plan.Violation, 50 * mbit}}), time.Second)
		if want := []agents.Limit{{UID: "u1", Egress: 50 * mbit, Sequence: 1}}; !slices.Equal(s.told["worker-1"], want) {
			t.Errorf("told %+v, want %+v", s.told["worker-1"], want)
		}
		for _, c := range s.submitted {
			if c.Order != (workload.Order{Term: 7, Sequence: 1}) || c.To != 50*mbit {
				t.Fatalf("submitted %+v under %v", c.To, c.Order)
			}
		}
	})
}

// Where no agent takes limits the annotation is the only road, as it was.
func TestWithoutAnAgentTheAnnotationIsTheRoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}}}
		run(t, numbered(s, Settings{Law: constant{plan.Violation, 50 * mbit}}), time.Second)
		if len(s.submitted) == 0 || !s.submitted[0].Order.IsZero() {
			t.Errorf("submitted %+v, want changes that are nobody's record", s.submitted)
		}
	})
}

// Who may not be limited any more is let go: pods in another mode, and those whose
// record the API server refuses.
func TestWhoMayNotBeLimitedIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := sender("refused", workload.Enforce)
		refused.UID = "u2"
		s := &stage{snapshot: &inventory.Snapshot{
			Agents:  []inventory.Agent{nodeAgent},
			Senders: []*inventory.Sender{sender("observed", workload.Observe), refused},
		}}
		l := numbered(s, Settings{Law: constant{plan.Violation, 50 * mbit}})
		l.Refused = func() map[types.UID]string { return map[types.UID]string{"u2": "denied by policy"} }
		run(t, l, time.Second)
		if told, ok := s.told["worker-1"]; !ok || len(told) != 0 {
			t.Errorf("told %+v, %v; want an empty list", told, ok)
		}
	})
}

// A leader that comes after one that died before its record was written completes
// it, under its number, and takes what is in force for what is in force.
func TestTheNextLeaderCompletesTheRecord(t *testing.T) {
	for _, rate := range []bitrate.Rate{40 * mbit, 2 * mbit} { // one is below the floor
		synctest.Test(t, func(t *testing.T) {
			s := &stage{
				snapshot: &inventory.Snapshot{Agents: []inventory.Agent{nodeAgent}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}},
				held:     map[string]agents.Held{"telemetry": {Rate: rate, Newest: workload.Order{Term: 6, Sequence: 9}, At: time.Now().Add(time.Hour)}},
			}
			shown := run(t, numbered(s, Settings{Law: silent{}}), 3*lookEvery)
			if len(shown.Senders) != 1 || shown.Senders[0].LimitBps != rate {
				t.Errorf("shown %+v, want a limit of %v", shown.Senders, rate)
			}
			if len(s.submitted) == 0 {
				t.Fatal("the record was left behind")
			}
			if c := s.submitted[0]; c.To != rate || c.Order != (workload.Order{Term: 6, Sequence: 9}) {
				t.Errorf("submitted %v under %v", c.To, c.Order)
			}
			if told := s.told["worker-1"]; len(told) != 1 || told[0].Egress != 0 {
				t.Errorf("told %+v, want what is in force to stay", told)
			}
		})
	}
}

func TestInForce(t *testing.T) {
	at := func(n uint64) workload.Order { return workload.Order{Term: 7, Sequence: n} }
	for _, tt := range []struct {
		name   string
		marked bool
		record workload.Order
		held   agents.Held
		fresh  bool
		want   bitrate.Rate
	}{
		{"no agent takes limits", false, workload.Order{}, agents.Held{}, false, 100 * mbit},
		{"the agent reports", true, at(3), agents.Held{Rate: 50 * mbit, Newest: at(5)}, true, 50 * mbit},
		{"it is silent, and the record is older", true, at(3), agents.Held{Rate: 50 * mbit, Newest: at(5)}, false, 50 * mbit},
		{"it is silent, and the record is newer", true, at(6), agents.Held{Rate: 50 * mbit, Newest: at(5)}, false, 100 * mbit},
		{"it is silent, and somebody edited", true, workload.Order{}, agents.Held{Rate: 50 * mbit, Newest: at(5)}, false, 100 * mbit},
		{"it can't enforce", true, at(5), agents.Held{Newest: at(5)}, true, 100 * mbit},
	} {
		s := sender("telemetry", workload.Enforce)
		s.Marked, s.Decided = tt.marked, tt.record
		if got := inForce(s, tt.held, tt.fresh); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// away is an API server that does not answer until it is back.
type away struct {
	mu      sync.Mutex
	back    bool
	written map[string]string
}

func (a *away) Annotate(_ context.Context, _ plan.PodID, _ types.UID, annotations map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.back {
		return errors.New("connection refused")
	}
	a.written = annotations
	return nil
}

func (a *away) Try(ctx context.Context, p plan.PodID, uid types.UID, annotations map[string]string) error {
	return a.Annotate(ctx, p, uid, annotations)
}

// node is an agent's meter: it reports what the ledger told it as in force.
type node struct{ ledger *limits.Ledger }

func (n node) Since(cursor uint64) ([]usage.Rate, uint64) {
	d, _, _ := n.ledger.Of("u1")
	r := usage.Rate{Namespace: "factory", Name: "telemetry", UID: "u1", At: time.Now(), Length: 100 * time.Millisecond, Tx: d.Rate}
	r.Enforced = usage.Enforced{Egress: d.Rate, Newest: d.Order}
	return []usage.Rate{r}, cursor + 1
}

// Next implements agent.Meter: nobody is told early.
func (n node) Next() <-chan struct{} { return nil }

// silent is a law that wants nothing.
type silent struct{}

func (silent) Name() string { return "silent" }

func (silent) Step(s law.State, o sense.View) (law.State, plan.Plan) { return s, plan.Plan{At: o.At} }

// With the API server away limits move all the same; when it is back the newest
// alone is recorded.
func TestLimitsMoveWhileTheAPIServerIsAway(t *testing.T) {
	ledger := new(limits.Ledger)
	server := &agent.Server{Node: "worker-1", Role: api.Role_ROLE_NODE, Limits: ledger, Meter: node{ledger}, Log: slog.New(slog.DiscardHandler), Metrics: agent.NewMetrics(prometheus.NewRegistry())}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	server.Register(g)
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(listener) })
	defer serving.Wait()
	defer g.Stop()

	ctx, cancel := context.WithCancel(t.Context())
	pool := agents.New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer pool.Wait()
	defer cancel()
	to := &away{}
	actuator := actuate.New(to, actuate.Config{Budget: write.NewBudget(1000, 1000), Workers: 2}, slog.New(slog.DiscardHandler), nil)
	var writing sync.WaitGroup
	writing.Go(func() { actuator.Run(ctx) })
	defer writing.Wait()
	defer cancel()

	here := nodeAgent
	here.Addr = listener.Addr().String()
	s := &stage{snapshot: &inventory.Snapshot{Agents: []inventory.Agent{here}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}}}
	loop := s.loop(Settings{Law: silent{}})
	loop.Measurements, loop.Limits = pool, actuator
	step := &term{loop: loop, roads: roads{term: 7}}
	step.tick(ctx, time.Now())
	telemetry := plan.PodID{Namespace: "factory", Name: "telemetry"}
	held := func() agents.Usage {
		step.observe(s.snapshot, time.Now())
		return step.look.Usage[0]
	}
	await.Until(t, "the agent says that it takes limits", func() bool { u := held(); return u.Fresh && !u.Held.At.IsZero() })
	for _, rate := range []bitrate.Rate{50 * mbit, 30 * mbit, 70 * mbit} {
		step.limit([]actuate.Change{changeOf(s.snapshot.Senders[0], plan.Limit{Pod: telemetry, From: 100 * mbit, To: rate})}, time.Now())
		await.Until(t, "the limit is in force on the node", func() bool { u := held(); return u.Fresh && u.Held.Rate == rate })
	}
	to.mu.Lock()
	if to.written != nil {
		t.Errorf("written while away: %v", to.written)
	}
	to.back = true
	to.mu.Unlock()
	await.Until(t, "the newest is recorded", func() bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		return to.written[workload.AnnotationEgressBandwidth] == "70M" && to.written[workload.AnnotationLimitDecision] == "7.3 70M"
	})
}

// Agents are told anew of the nodes on which something has changed, and of no others.
func TestOnlyNodesThatChangedAreTold(t *testing.T) {
	on := func(node, name string) *inventory.Sender {
		s := sender(name, workload.Enforce)
		s.Node, s.UID = node, types.UID(name)
		return s
	}
	a, b, c := on("n1", "a"), on("n2", "b"), on("n3", "c")
	limited, reborn, observed := *b, *b, *b
	limited.Limit, reborn.UID, observed.Mode = 7*mbit, "b2", workload.Observe
	elsewhere := on("n4", "b")
	agentsOf := []inventory.Agent{nodeAgent}
	before := &inventory.Snapshot{Senders: []*inventory.Sender{a, b, c}, Agents: agentsOf}
	for _, tt := range []struct {
		name  string
		after []*inventory.Sender
		want  []string
	}{
		{"nothing", []*inventory.Sender{a, b, c}, nil},
		{"a limit", []*inventory.Sender{a, &limited, c}, nil},
		{"came", []*inventory.Sender{a, on("n9", "aa"), b, c, on("n8", "d")}, []string{"n8", "n9"}},
		{"went", []*inventory.Sender{b}, []string{"n1", "n3"}},
		{"born again", []*inventory.Sender{a, &reborn, c}, []string{"n2"}},
		{"moved", []*inventory.Sender{a, elsewhere, c}, []string{"n2", "n4"}},
		{"in another mode", []*inventory.Sender{a, &observed, c}, []string{"n2"}},
	} {
		got := moved(before, &inventory.Snapshot{Senders: tt.after, Agents: agentsOf})
		if names := slices.Sorted(maps.Keys(got)); got == nil || !slices.Equal(names, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, names, tt.want)
		}
	}
	if moved(nil, before) != nil || moved(before, &inventory.Snapshot{Senders: before.Senders}) != nil {
		t.Error("another agent, or the first inventory, concerns some nodes only")
	}
}
