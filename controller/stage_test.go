package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

// stage is everything around a loop, in memory.
type stage struct {
	mu        sync.Mutex
	snapshot  *inventory.Snapshot
	assigned  []agents.Assignment
	asked     []promql.Wanted
	answer    promql.Answer
	submitted []actuate.Change
	told      map[string][]agents.Limit // by node
	urgent    chan struct{}
	held      map[string]agents.Held // by the pod's name
	calm      bool                   // nobody has anything to tell
	news      []agents.News
	paced     agents.Pace
	reports   uint64
	alone     bool // a pace was said before anybody was assigned anything
	events    []string
	log       strings.Builder
}

func (s *stage) Snapshot() *inventory.Snapshot { s.mu.Lock(); defer s.mu.Unlock(); return s.snapshot }
func (s *stage) Synced() <-chan struct{}       { c := make(chan struct{}); close(c); return c }

func (s *stage) Assign(_ context.Context, a []agents.Assignment, _ []*inventory.Sender) {
	s.assigned = a
}
func (s *stage) Look(l *agents.Look, now time.Time)                 { look(s, l, now) }
func (s *stage) News(news []agents.News, _ time.Time) []agents.News { return append(news, s.news...) }

// seen is what one session or pod shows, for tests that show it one by one.
type seen interface {
	Session(id string, now time.Time) agents.Measurement
	Rates(plan.PodID, time.Time) []plan.TxRate
	Held(plan.PodID, time.Time) (agents.Held, bool)
	Limiter(node string) plan.Limiter
}

func look(s seen, l *agents.Look, now time.Time) {
	l.Measured, l.Usage = l.Measured[:0], l.Usage[:0]
	for _, id := range l.Sessions {
		l.Measured = append(l.Measured, s.Session(id, now))
	}
	for _, pod := range l.Senders {
		u := agents.Usage{Rates: s.Rates(pod.Pod, now), Limiter: s.Limiter(pod.Node)}
		u.Held, u.Fresh = s.Held(pod.Pod, now)
		l.Usage = append(l.Usage, u)
	}
}

func (s *stage) Session(string, time.Time) agents.Measurement { return agents.Measurement{} }
func (s *stage) Rates(plan.PodID, time.Time) []plan.TxRate    { return nil }
func (s *stage) Limiter(string) plan.Limiter                  { return "" }
func (s *stage) State(inventory.Agent) agents.State           { return agents.State{Connected: true} }
func (s *stage) Wait()                                        {}
func (s *stage) Urgent() <-chan struct{}                      { return s.urgent }
func (s *stage) Limit(term uint64, node string, pods []agents.Limit) {
	if s.told == nil {
		s.told = map[string][]agents.Limit{}
	}
	s.told[node] = pods
}
func (s *stage) Pace(p agents.Pace) {
	s.paced, s.alone = p, s.alone || s.assigned == nil
}
func (s *stage) Reports() uint64 { return s.reports }
func (s *stage) Stirred() bool   { return !s.calm }
func (s *stage) Taken() bool     { return len(s.held) > 0 }
func (s *stage) Held(pod plan.PodID, now time.Time) (agents.Held, bool) {
	h := s.held[pod.Name]
	return h, now.Sub(h.At) < 2*time.Second
}

func (s *stage) Ask(_ context.Context, q []promql.Wanted) { s.asked = q }
func (s *stage) Answer(string, time.Time) promql.Answer   { return s.answer }

func (s *stage) Submit(c []actuate.Change)    { s.submitted = append(s.submitted, c...) }
func (s *stage) Waiting() actuate.Waiting     { return actuate.Waiting{} }
func (s *stage) Forget(func(plan.PodID) bool) {}
func (s *stage) Run(ctx context.Context)      { <-ctx.Done() }
func (s *stage) Write(p []byte) (int, error)  { return s.log.Write(p) }
func (s *stage) Eventf(_, _ runtime.Object, _, reason, _, note string, args ...any) {
	s.events = append(s.events, reason+": "+fmt.Sprintf(note, args...))
}

// constant is a law that always wants the same.
type constant struct {
	cause plan.Cause
	to    bitrate.Rate
}

func (constant) Name() string { return "constant" }

func (c constant) Step(s law.State, o sense.View) (law.State, plan.Plan) {
	p := plan.Plan{At: o.At, Reasons: []plan.Reason{{Bottleneck: plan.Cluster, Action: plan.Cut, Cause: c.cause, Signal: "jitter", Measured: 3 * time.Millisecond, Target: time.Millisecond}}}
	if len(o.Apps) > 0 {
		p.Reasons[0].App = o.Apps[0].Pod
	}
	for _, sender := range o.Senders {
		p.Limits = append(p.Limits, plan.Limit{Pod: sender.Pod, From: sender.Limit, To: c.to})
	}
	return s, p
}

func (s *stage) loop(settings Settings) *Loop {
	l := &Loop{Inventory: s, Measurements: s, Queries: s, Limits: s, Events: s, Log: slog.New(slog.NewTextHandler(s, nil)), Replica: "r1"}
	l.Metrics = NewMetrics(prometheus.NewRegistry(), l.Status)
	l.Set(settings)
	return l
}

// place places all apps of s anew.
func place(s *inventory.Snapshot, k int, urgent bool) ([]agents.Assignment, map[plan.PodID]paths) {
	assignments, all := new(placing).place(s, k, urgent)
	perApp := map[plan.PodID]paths{}
	for i, known := range all {
		perApp[s.Apps[i].Pod] = *known
	}
	return assignments, perApp
}

func app(name string, mode workload.ControlMode) *inventory.App {
	a := &inventory.App{IP: "10.0.0.9", Probe: workload.Probe{Protocol: workload.UDP, Port: 5201}, Mode: mode}
	a.Pod, a.Node, a.SLO.Jitter = plan.PodID{Namespace: "factory", Name: name}, "worker-1", time.Millisecond
	return a
}

func sender(name string, mode workload.ControlMode) *inventory.Sender {
	s := &inventory.Sender{UID: "u1", Mode: mode}
	s.Pod, s.Node, s.Limit, s.Min, s.Max = plan.PodID{Namespace: "factory", Name: name}, "worker-1", 100*mbit, 10*mbit, 1000*mbit
	return s
}

// run runs a loop for d of virtual time and returns its last status.
func run(t *testing.T, l *Loop, d time.Duration) *status.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var last *status.Status
	var watcher sync.WaitGroup
	watcher.Go(func() {
		time.Sleep(d - Period/2)
		last = l.Status()
	})
	if err := l.Start(ctx); err != nil {
		t.Errorf("Start: %v", err)
	}
	watcher.Wait()
	if l.Status().Leader {
		t.Error("a loop that has ended still claims to lead")
	}
	return last
}

func submittedPods(changes []actuate.Change) []string {
	var names []string
	for _, c := range changes {
		if !slices.Contains(names, c.Pod.Name) {
			names = append(names, c.Pod.Name)
		}
	}
	return names
}

func sessionsOf(all []*paths, apps []*inventory.App) []string {
	ids, _ := idsOf(all, apps)
	return ids
}
