package fault

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// restless decides something else again and again, for long enough that it is recorded.
type restless struct{}

const stands = 1500 // ms, for which a limit is the same

func (restless) Name() string { return law.Adaptive }

func (restless) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	p := plan.Plan{At: v.At, Reasons: []plan.Reason{{Bottleneck: plan.Cluster, Action: plan.Cut, Cause: plan.Violation}}}
	to := 20*mbit + mbit*bitrate.Rate(v.At.UnixMilli()/stands%70)
	for _, sender := range v.Senders {
		if to != sender.Limit {
			p.Limits = append(p.Limits, plan.Limit{Pod: sender.Pod, From: sender.Limit, To: to})
		}
	}
	return s, p
}

// enforcer is a node's agent that enforces what it is told, as far as can be seen.
type enforcer struct {
	pod, uid string
	ledger   limits.Ledger
}

func (*enforcer) Next() <-chan struct{} { return nil }

func (e *enforcer) Since(cursor uint64) ([]usage.Rate, uint64) {
	d, _, _ := e.ledger.Of(e.uid)
	rate := usage.Rate{At: time.Now(), Length: 100 * time.Millisecond, Tx: mbit}
	rate.Namespace, rate.Name, rate.UID = "default", e.pod, e.uid
	rate.Enforced.Egress, rate.Enforced.Newest = max(d.Rate, mbit), d.Order
	return []usage.Rate{rate}, cursor + 1
}

// serve has the agent listen.
func (e *enforcer) serve(t *testing.T) (addr string) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	(&agent.Server{Node: "worker-1", Role: api.Role_ROLE_NODE, Meter: e, Limits: &e.ledger, Metrics: agent.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler)}).Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// known is an inventory that has an agent besides.
type known struct {
	*inventory.Inventory
	agent inventory.Agent

	of, is *inventory.Snapshot
}

func (k *known) Snapshot() *inventory.Snapshot {
	if now := k.Inventory.Snapshot(); k.of != now {
		with := *now
		with.Agents = []inventory.Agent{k.agent}
		k.of, k.is = now, &with
	}
	return k.is
}

// replica is a controller as it is wired, with a law that never rests.
type replica struct {
	held *leader.Held
	end  func()
}

func startReplica(t *testing.T, host, addr string, env *envtest.Environment) replica {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	to := *env.Config
	to.Host, to.QPS = host, -1
	writing := to
	held, err := leader.NewHeld(&to, "default")
	if err != nil {
		t.Fatal(err)
	}
	writing.Wrap(held.Guard)
	inv := inventory.New(kubernetes.NewForConfigOrDie(&to), "detnet", workload.Enforce)
	inv.SetKeys(signature.Keys{Current: faultKey})
	pool := agents.New(insecure.NewCredentials(), log)
	pool.Deposed = held.Depose
	writer := write.New(kubernetes.NewForConfigOrDie(&writing), nil, nil, log)
	loop := &controller.Loop{
		Inventory:    &known{Inventory: inv, agent: inventory.Agent{UID: "agent", Role: api.Role_ROLE_NODE, Node: "worker-1", Addr: addr}},
		Measurements: pool,
		Queries:      promql.New(promql.Config{}, log, prometheus.NewRegistry()),
		Limits:       actuate.New(actuate.Pods{Writer: writer}, actuate.Config{Budget: write.NewBudget(20, 20), Workers: 4}, log, nil),
		Term:         held.Term, Leads: held.Leads, Speaks: held.Speaks,
		Events: events.NewFakeRecorder(1000), Log: log,
	}
	loop.Metrics = controller.NewMetrics(prometheus.NewRegistry(), loop.Status)
	loop.Set(controller.Settings{Law: restless{}, Mode: workload.Enforce})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = inv.Start(ctx) })
	running.Go(func() {
		if err := (&leader.Election{Held: held, Workers: []leader.Worker{loop}, Log: log}).Start(ctx); err != nil {
			t.Error(err)
		}
	})
	end := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(end)
	return replica{held, end}
}

// The API server answers nothing for longer than the lease lasts: limits go on to
// move where the agent enforces them, nothing is written, and the same leader under
// the same number goes on when it answers. When another has led meanwhile, its
// word is what the agent takes, and the one before stands by in its process and
// leads again after it.
func TestLimitsMoveWhileTheAPIServerHangs(t *testing.T) {
	env := apitest.Start(t)
	direct := kubernetes.NewForConfigOrDie(env.Config)
	pods := makeThrottled(t, direct, 1)
	node := &enforcer{pod: "upload-0", uid: string(pods.uids["upload-0"])}
	addr := node.serve(t)
	hung := newLine(t, hostOf(t, env.Config))
	first := startReplica(t, "https://"+hung.Addr().String(), addr, env)

	decided := func() workload.Order { d, _, _ := node.ledger.Of(node.uid); return d.Order }
	moves := func(what string, term uint64) uint64 {
		t.Helper()
		before := decided()
		await.Until(t, what, func() bool {
			now := decided()
			return now.Compare(before) > 0 && (now.Term == term || term == 0) && now.Sequence > 3
		})
		return decided().Term
	}
	one := moves("the first leader's limits move", 0)
	hung.hold()
	await.Until(t, "its lead is not certain any more", func() bool { return !first.held.Leads() })
	written := pods.limits()
	moves("limits move while the API server hangs", one)
	moves("and go on to", one)
	if now := pods.limits(); len(now) != 1 || now["100M"] != written["100M"] {
		t.Errorf("written: %v, then %v", written, now)
	}
	hung.let()
	await.Until(t, "it leads again", first.held.Leads)
	moves("and decides under the same number", one)
	recorded := pods.limits()
	await.Until(t, "and writes", func() bool {
		for limit := range recorded {
			if pods.limits()[limit] == 0 {
				return true
			}
		}
		return false
	})

	hung.hold()
	second := startReplica(t, env.Config.Host, addr, env)
	await.Until(t, "another leads", second.held.Leads)
	await.Until(t, "the agent hears it", func() bool { return decided().Term > one })
	two := decided().Term
	await.Until(t, "the one before is silent", func() bool { return !first.held.Speaks() })
	before := decided()
	hung.let()
	await.Until(t, "its word stays", func() bool { // a machine that stands still for longer than the lease lasts costs it the lead
		now := decided()
		return now.Compare(before) > 0 && (now.Term >= two || !second.held.Leads())
	})
	second.end()
	await.Until(t, "the one before leads again", func() bool { return decided().Term > two })
}
