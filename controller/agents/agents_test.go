package agents

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Unix(1_800_000_000, 0)

func sampleAt(d time.Duration) plan.Sample { return plan.Sample{At: plan.At(epoch.Add(d))} }

func newSamples() window[plan.Sample] {
	return window[plan.Sample]{at: sampledAt}
}

// Whatever the order of arrival, a view is in the order of time, within keep,
// and a view that was handed out never changes.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSamples()
		now := epoch
		var all []plan.Sample
		type handed struct{ view, copied []plan.Sample }
		var views []handed
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			var batch []plan.Sample
			for range rapid.IntRange(0, 20).Draw(t, "n") {
				age := time.Duration(rapid.IntRange(0, 7000).Draw(t, "age")) * time.Millisecond
				batch = append(batch, plan.Sample{At: plan.At(now.Add(-age))})
			}
			order(batch, sampledAt)
			w.add(batch, now, keep)
			all = append(all, batch...)
			if rapid.Bool().Draw(t, "nobody looks") {
				continue
			}
			view := w.view(now)
			order(all, sampledAt)
			if want := slices.DeleteFunc(slices.Clone(all), func(s plan.Sample) bool { return now.Sub(s.At.Time()) > keep }); !slices.Equal(view, want) {
				t.Fatalf("%d samples are seen, want %d", len(view), len(want))
			}
			if !slices.IsSortedFunc(view, func(a, b plan.Sample) int { return a.At.Compare(b.At) }) {
				t.Fatalf("view out of order: %v", view)
			}
			if len(view) > 0 && now.Sub(view[0].At.Time()) > keep {
				t.Fatalf("view holds a sample of %v ago", now.Sub(view[0].At.Time()))
			}
			views = append(views, handed{view, slices.Clone(view)})
		}
		for _, v := range views {
			if !slices.Equal(v.view, v.copied) {
				t.Fatal("a view changed after it was handed out")
			}
		}
	})
}

func TestWindowIsBounded(t *testing.T) {
	w := newSamples()
	for i := range 10 * maxItems {
		w.add([]plan.Sample{sampleAt(time.Duration(i))}, epoch, keep)
	}
	if n := len(w.view(epoch)); n != maxItems {
		t.Errorf("%d samples kept, want %d", n, maxItems)
	}
	if c := cap(w.items); c > 4*maxItems {
		t.Errorf("room for %d samples, want some %d", c, maxItems)
	}
}

func TestSamples(t *testing.T) {
	got, err := samples(nil, &api.SessionReport{
		AgeNs: []int64{2e6, 1e6, -5}, RttNs: []int64{300, -1, 400},
		ForwardNs: []int64{-7, 0, 9}, BackwardNs: []int64{1, 0, 2},
	}, epoch)
	want := []plan.Sample{
		{At: plan.At(epoch.Add(-2 * time.Millisecond)), RTT: 300, HasOneWay: true, Forward: -7},
		{At: plan.At(epoch.Add(-time.Millisecond)), Lost: true},
		{At: plan.At(epoch), RTT: 400, HasOneWay: true, Forward: 9},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("samples = %+v, %v; want %+v", got, err, want)
	}
	for name, r := range map[string]*api.SessionReport{
		"ages without round trips": {AgeNs: []int64{1}},
		"half of one way":          {AgeNs: []int64{1}, RttNs: []int64{1}, ForwardNs: []int64{1}},
		"too many one way":         {AgeNs: []int64{1}, RttNs: []int64{1}, ForwardNs: []int64{1, 2}, BackwardNs: []int64{1, 2}},
	} {
		if got, err := samples(nil, r, epoch); err == nil {
			t.Errorf("%s: %+v, want an error", name, got)
		}
	}
}

// fakeAgent sends the report it holds every few milliseconds and remembers
// what it was told to do.
type fakeAgent struct {
	api.UnimplementedAgentServer
	assigned atomic.Pointer[api.Assignment]
	report   atomic.Pointer[api.Report]
}

func (f *fakeAgent) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	go func() {
		for {
			a, err := s.Recv()
			if err != nil {
				return
			}
			f.assigned.Store(a)
		}
	}()
	for s.Context().Err() == nil {
		if r := f.report.Load(); r != nil {
			if err := s.Send(r); err != nil {
				return err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// serve runs f at addr, or at any free port, until stop.
func (f *fakeAgent) serve(t *testing.T, addr string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterAgentServer(server, f)
	go func() { _ = server.Serve(l) }()
	return l.Addr().String(), server.Stop
}

func TestPool(t *testing.T) {
	agent := &fakeAgent{}
	agent.report.Store(&api.Report{
		Node:     "worker-1",
		Uplinks:  []*api.Uplink{{Interface: "eth0", Queue: "mq/fq", SpeedBps: 1e9}, {Interface: strings.Repeat("x", 64)}},
		Sessions: []*api.SessionReport{{Id: "s1", AgeNs: []int64{0}, RttNs: []int64{3e5}}, {Id: "stranger", AgeNs: []int64{0}, RttNs: []int64{1}}},
		Pods: []*api.PodRate{
			{Namespace: "factory", Name: "telemetry", Uid: "u1", TxBps: 5_000_000},
			{Namespace: "factory", Name: "reborn", Uid: "old", TxBps: 1},
			{Namespace: "factory", Name: "elsewhere", Uid: "u3", TxBps: 1},
			{Namespace: "factory", Name: "stranger", Uid: "u9", TxBps: 1},
		},
	})
	addr, stopAgent := agent.serve(t, freeport.Addr(t)) // it comes back there

	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	one := inventory.Agent{UID: "a1", Node: "worker-1", Role: api.Role_ROLE_NODE, Addr: addr}
	gone := inventory.Agent{UID: "a2", Node: "worker-2", Addr: "127.0.0.1:1"}
	telemetry := plan.PodID{Namespace: "factory", Name: "telemetry"}
	senders := []*inventory.Sender{
		{Sender: plan.Sender{Pod: plan.PodID{Namespace: "factory", Name: "elsewhere"}, Node: "worker-2"}, UID: "u3"},
		{Sender: plan.Sender{Pod: plan.PodID{Namespace: "factory", Name: "reborn"}, Node: "worker-1"}, UID: "new"},
		{Sender: plan.Sender{Pod: telemetry, Node: "worker-1"}, UID: "u1"},
	}
	assign := func(ids ...string) {
		a := Assignment{Agent: one}
		for _, id := range ids {
			a.Sessions = append(a.Sessions, &api.Session{Id: id})
		}
		p.Assign(ctx, []Assignment{a, {Agent: gone}}, senders)
	}
	assign("s1")

	var rates []plan.TxRate
	await.Until(t, "samples and rates arrive", func() bool {
		m := p.Session("s1", time.Now())
		rates = usage(p, telemetry, "worker-1", time.Now()).Rates
		return len(m.Samples) > 3 && len(rates) > 3
	})
	if rates[0].Tx != 5*bitrate.Mbit {
		t.Errorf("rate = %v, want 5M", rates[0].Tx)
	}
	if r := usage(p, senders[1].Pod, senders[1].Node, time.Now()).Rates; r != nil {
		t.Errorf("a pod got the usage of its dead namesake: %v", r)
	}
	if r := usage(p, senders[0].Pod, senders[0].Node, time.Now()).Rates; r != nil {
		t.Errorf("an agent spoke for a pod of another node: %v", r)
	}
	if m := p.Session("stranger", time.Now()); m.Samples != nil {
		t.Errorf("samples of a session that nobody asked for: %+v", m)
	}
	if p.State(gone).Connected {
		t.Error("connected where nobody listens")
	}
	await.Until(t, "the agent is connected", func() bool { return p.State(one).Connected })

	if got, want := p.State(one).Uplinks, []status.Uplink{{Interface: "eth0", Queue: "mq/fq", SpeedBps: bitrate.Gbit}}; !slices.Equal(got, want) {
		t.Errorf("uplinks %+v, want %+v", got, want)
	}

	if here, there := usage(p, telemetry, "worker-1", time.Now()).Limiter, usage(p, telemetry, "worker-2", time.Now()).Limiter; here != plan.EDT || there != "" {
		t.Errorf("limiters %q and %q, want that of an agent that leaves limits to another one before fq, and an unknown one", here, there)
	}

	var before []plan.Sample
	await.Until(t, "a sample", func() bool { before = p.Session("s1", time.Now()).Samples; return len(before) > 0 })
	assign("s1", "s2")
	await.Until(t, "the new assignment arrives", func() bool { return len(agent.assigned.Load().GetSessions()) == 2 })
	last, now := before[len(before)-1], time.Now()
	if after := p.Session("s1", now).Samples; !slices.Contains(after, last) && now.Sub(last.At.Time()) <= keep {
		t.Errorf("a session that stays lost its samples: %d, then %d", len(before), len(after))
	}

	stopAgent()
	await.Until(t, "the loss of the agent is seen", func() bool { return !p.State(one).Connected })
	if got := usage(p, telemetry, "worker-1", time.Now()).Limiter; got != plan.EDT {
		t.Errorf("without its agent the node's limiter is %q", got)
	}
	agent.assigned.Store(nil)
	_, stopAgent = agent.serve(t, addr)
	defer stopAgent()
	await.Until(t, "the agent is back and knows its sessions", func() bool {
		return p.State(one).Connected && len(agent.assigned.Load().GetSessions()) == 2
	})
}

// A Pool whose streams have ended begins anew for the next term: it dials again, and
// says nothing of what was decided before.
func TestPoolOfTheNextTerm(t *testing.T) {
	agent := &fakeAgent{}
	agent.report.Store(&api.Report{Node: "worker-1", TakesLimits: true})
	addr, stop := agent.serve(t, "127.0.0.1:0")
	defer stop()
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	want := []Assignment{{Agent: inventory.Agent{UID: "a1", Node: "worker-1", Addr: addr}}}
	for term := uint64(7); term < 9; term++ {
		ctx, cancel := context.WithCancel(t.Context())
		p.Assign(ctx, want, nil)
		await.Until(t, "the agent takes limits", p.Taken)
		if said := agent.assigned.Load().GetLimits(); term > 7 && said.GetTerm() != 0 {
			t.Errorf("the next leader begins with term %d", said.GetTerm())
		}
		p.Limit(term, "worker-1", nil)
		await.Until(t, "it hears them", func() bool { return agent.assigned.Load().GetLimits().GetTerm() == term })
		cancel()
		p.Wait()
		agent.assigned.Store(nil)
	}
}

// What an agent answers who has heard a later leader is told to who holds the lease,
// and nothing else is.
func TestDeposedByAnAgent(t *testing.T) {
	for code, want := range map[codes.Code]bool{codes.Aborted: true, codes.FailedPrecondition: false} {
		var deposed atomic.Bool
		p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
		p.Deposed = func() { deposed.Store(true) }
		refusing := &refuser{code: code}
		addr := serve(t, refusing)
		ctx, cancel := context.WithCancel(t.Context())
		p.Assign(ctx, []Assignment{{Agent: inventory.Agent{UID: "a1", Addr: addr}}}, nil)
		await.Until(t, "it was asked twice", func() bool { return refusing.asked.Load() > 1 })
		cancel()
		p.Wait()
		if deposed.Load() != want {
			t.Errorf("%v: deposed %v, want %v", code, deposed.Load(), want)
		}
	}
}

// refuser is an agent that ends each stream.
type refuser struct {
	api.UnimplementedAgentServer
	code  codes.Code
	asked atomic.Int64
}

func (r *refuser) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	defer r.asked.Add(1)
	if _, err := s.Recv(); err != nil {
		return err
	}
	return grpcstatus.Error(r.code, "no")
}

// serve runs an agent until the test ends.
func serve(t *testing.T, agent api.AgentServer) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterAgentServer(server, agent)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// Who enforces decides before what the uplink's queue is.
func TestLimiterIsKnownByWhoEnforcesAndTheQueue(t *testing.T) {
	for _, tt := range []struct {
		enforces bool
		queue    string
		want     plan.Limiter
	}{{true, "fq", plan.TokenBucket}, {true, "", plan.TokenBucket}, {false, "fq", plan.EDT}, {false, "mq/fq", plan.EDT}, {false, "mq/fq_codel", ""}, {false, "mq/several", ""}} {
		if got := limiterOf(tt.enforces, []status.Uplink{{Interface: "eth0", Queue: "noqueue"}, {Interface: "eth1", Queue: tt.queue}}); got != tt.want {
			t.Errorf("enforces: %v, %s: %q, want %q", tt.enforces, tt.queue, got, tt.want)
		}
	}
}

// Packed reports say the same as those in full; a number that stands for no session,
// or usage of a pod without a name, does no harm.
func TestPackedReports(t *testing.T) {
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := inventory.Agent{UID: "a1", Node: "worker-1", Addr: "127.0.0.1:1"}
	telemetry := &inventory.Sender{Sender: plan.Sender{Pod: plan.PodID{Namespace: "factory", Name: "telemetry"}, Node: "worker-1"}, UID: "u1"}
	p.Assign(ctx, []Assignment{{Agent: a, Sessions: []*api.Session{{Id: "s1"}, {Id: "s2"}}}}, []*inventory.Sender{telemetry})
	given := p.byUID["a1"].given
	if one, two := given[0].GetNumber(), given[1].GetNumber(); one == 0 || one == two {
		t.Fatalf("numbers %d and %d", one, two)
	}
	report := &api.Report{TakesLimits: true, Packed: []*api.PackedSession{{Number: given[1].GetNumber()}, {Number: 99}}}
	wire.Pack(report.Packed[0], []wire.Sample{{Age: 20 * time.Millisecond, RTT: 300 * time.Microsecond}, {Lost: true}})
	new(wire.Names).Pack(report, []wire.Rate{{Pod: wire.Pod{Namespace: "factory", Name: "telemetry", UID: "u1", Limit: 50e6, Term: 7, Sequence: 2}, At: epoch, Tx: 5e6}}, epoch)
	said := &speech{from: a}
	if err := p.receive(said, report, epoch); err != nil {
		t.Fatal(err)
	}
	want := []plan.Sample{{At: plan.At(epoch.Add(-20 * time.Millisecond)), RTT: 300 * time.Microsecond}, {At: plan.At(epoch), Lost: true}}
	if got := p.Session("s2", epoch).Samples; !slices.Equal(got, want) || p.Session("s1", epoch).Samples != nil {
		t.Errorf("samples %+v, want %+v", got, want)
	}
	if got := usage(p, telemetry.Pod, "worker-1", epoch).Rates; len(got) != 1 || got[0] != (plan.TxRate{At: plan.At(epoch), Tx: 5 * bitrate.Mbit}) {
		t.Errorf("rates %+v", got)
	}
	if u := usage(p, telemetry.Pod, "worker-1", epoch); !u.Fresh || u.Held.Rate != 50*bitrate.Mbit || u.Held.Newest != (workload.Order{Term: 7, Sequence: 2}) {
		t.Errorf("held %+v", u)
	}
	if !p.Stirred() || p.Stirred() {
		t.Error("a report with a lost packet stirs once")
	}
	if err := p.receive(said, &api.Report{Calm: true}, epoch); err != nil || p.Stirred() {
		t.Errorf("a report with nothing in it stirs, %v", err)
	}
	if err := p.receive(said, &api.Report{Usage: []*api.Usage{{Pods: []uint32{7}, TxKbps: []uint32{1}}}}, epoch); err == nil {
		t.Error("usage of a pod that was not named is taken")
	}
}

// Agents hear how often to report while all is calm, and those that are busy that
// they are not to wait.
func TestPace(t *testing.T) {
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.Assign(ctx, []Assignment{{Agent: inventory.Agent{UID: "a1", Addr: "127.0.0.1:1"}}, {Agent: inventory.Agent{UID: "a2", Addr: "127.0.0.1:1"}}}, nil)
	for _, tt := range []struct {
		calm     time.Duration
		busy     map[types.UID]bool
		one, two uint32
	}{
		{time.Second, nil, 1000, 1000},
		{time.Second, map[types.UID]bool{"a2": true}, 1000, 0},
		{time.Second, map[types.UID]bool{"a1": true}, 0, 1000},
		{0, nil, 0, 0},
	} {
		p.Pace(Pace{Calm: tt.calm, Busy: tt.busy, Soft: 0.5})
		p.mu.Lock()
		one, two := p.byUID["a1"].latest.GetCalmReportMs(), p.byUID["a2"].latest.GetCalmReportMs()
		p.mu.Unlock()
		if one != tt.one || two != tt.two {
			t.Errorf("%v, busy %v: told %d and %d ms, want %d and %d", tt.calm, tt.busy, one, two, tt.one, tt.two)
		}
	}
}

// An agent cannot make the controller keep more than a node has.
func TestUplinksAreBounded(t *testing.T) {
	said := make([]*api.Uplink, 1000)
	for i := range said {
		said[i] = &api.Uplink{Interface: "eth0", SpeedBps: 1 << 63}
	}
	got := uplinks(said, nil)
	if len(got) != mostUplinks || got[0].SpeedBps != bitrate.Max {
		t.Errorf("%d uplinks, the first %+v", len(got), got[0])
	}
	if again := uplinks(said, got); &again[0] != &got[0] {
		t.Error("what is known already is kept anew")
	}
}

// usage is what a pool knows of one pod.
func usage(p *Pool, pod plan.PodID, node string, now time.Time) Usage {
	l := Look{Senders: []*inventory.Sender{{Sender: plan.Sender{Pod: pod, Node: node}}}}
	p.Look(&l, now)
	return l.Usage[0]
}
