package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/workload"
)

// deployed is detnet around a network: the agents' programs, and the controller's loop
// with its streams to them, its law and its queue of writes. What stands in for others
// is here: the API server's pods, and Cilium's agent, which puts each limit in force.
type deployed struct {
	*stand
	*agents.Pool
	agents *fleet

	mu       sync.Mutex
	snapshot *inventory.Snapshot
	samples  map[plan.Instant]plan.Sample // by when they were sent
	rng      *rand.Rand
	began    time.Time
	cuts     []time.Duration // when, since it began
	writes   int
}

func newDeployed(ctx context.Context, s *stand, limited int, seed uint64) (*deployed, error) {
	const mode = workload.Enforce
	l := &deployed{stand: s, rng: rand.New(rand.NewPCG(seed, 0)), samples: map[plan.Instant]plan.Sample{}}
	robot := &inventory.App{App: plan.App{
		Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: nodeName, Protocol: workload.STAMP, NodeReflects: true, SLO: workload.SLO{Jitter: target},
	}, UID: "robot", IP: podAddr(limited), Probe: workload.Probe{Protocol: workload.STAMP, Port: workload.STAMPPort}, Mode: mode}
	l.snapshot = &inventory.Snapshot{Apps: []*inventory.App{robot}}
	var list []corev1.Pod
	for i := range limited {
		name := fmt.Sprint(i)
		list = append(list, pod(name, podAddr(i)))
		l.snapshot.Senders = append(l.snapshot.Senders, &inventory.Sender{
			Sender: plan.Sender{
				Pod: plan.PodID{Namespace: namespace, Name: name}, Node: nodeName, Weight: 1,
				Min: bitrate.Min, Max: bitrate.Gbit, Limit: bitrate.Gbit,
			},
			UID: types.UID(name), Initial: bitrate.Gbit, Annotation: bitrate.Gbit.String(), Restore: bitrate.Gbit.String(), Mode: mode,
		})
		if err := s.limiter.set(podAddr(i), bitrate.Gbit, priorityBestEffort); err != nil {
			return nil, err
		}
	}
	var err error
	if l.agents, err = startFleet(ctx, s.network, list); err != nil {
		return nil, err
	}
	l.snapshot.Agents = l.agents.agents
	return l, nil
}

func (l *deployed) close() { l.agents.close() }

// run controls until ctx ends.
func (l *deployed) run(ctx context.Context) error {
	config := law.DefaultConfig()
	adaptive, err := law.New(law.Adaptive, config)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	l.Pool = agents.New(insecure.NewCredentials(), log)
	c := &controller.Loop{
		Inventory: l, Measurements: l, Queries: unasked{}, Events: untold{}, Log: log,
		Limits:      actuate.New(l, actuate.DefaultConfig(), log, nil),
		HostRouting: func() bool { return limitedBy.is == plan.EDTHostRouting },
	}
	c.Metrics = controller.NewMetrics(prometheus.NewRegistry(), c.Status)
	c.Set(controller.Settings{Law: adaptive, Config: config, Mode: workload.Enforce, Vantages: 1})
	l.began = time.Now()
	return c.Start(ctx)
}

// Snapshot implements controller.Inventory.
func (l *deployed) Snapshot() *inventory.Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot
}

// Synced implements controller.Inventory.
func (l *deployed) Synced() <-chan struct{} { return closed }

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Look shows the controller what its agents have reported, and keeps the samples.
func (l *deployed) Look(to *agents.Look, now time.Time) {
	l.Pool.Look(to, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range to.Measured {
		for _, s := range m.Samples {
			l.samples[s.At] = s
		}
	}
}

// measured are all samples, oldest first.
func (l *deployed) measured() []plan.Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.samples), func(a, b plan.Sample) int { return a.At.Compare(b.At) })
}

func (l *deployed) written() ([]time.Duration, int) { return l.cuts, l.writes }

// Annotate does in the API server's place, and in that of Cilium's agent: a limit is in
// the inventory after half of the time that a patch takes, and in force after all of it.
func (l *deployed) Annotate(_ context.Context, id plan.PodID, _ types.UID, annotations map[string]string) error {
	to, err := bitrate.ParseLimit(annotations[workload.AnnotationEgressBandwidth])
	if err != nil {
		return err
	}
	l.mu.Lock()
	half := (patchLeast + time.Duration(l.rng.Int64N(int64(patchSpread)))) / 2
	l.mu.Unlock()
	time.Sleep(half)
	l.mu.Lock()
	defer l.mu.Unlock()
	snapshot := *l.snapshot
	snapshot.Senders = slices.Clone(snapshot.Senders)
	l.snapshot = &snapshot
	i := slices.IndexFunc(snapshot.Senders, func(s *inventory.Sender) bool { return s.Pod == id })
	now := *snapshot.Senders[i]
	fmt.Printf("%7.2f s: pod %s %v → %v\n", time.Since(l.began).Seconds(), id.Name, now.Limit, to)
	if l.writes++; to < now.Limit {
		l.cuts = append(l.cuts, time.Since(l.began)-half)
	}
	now.Limit, now.Annotation = to, to.String()
	snapshot.Senders[i] = &now
	time.AfterFunc(half, func() { _ = l.limiter.set(podAddr(i), to, priorityBestEffort) })
	return nil
}

// Try implements actuate.Annotator: nothing is refused.
func (l *deployed) Try(context.Context, plan.PodID, types.UID, map[string]string) error { return nil }

// unasked stands in for Prometheus.
type unasked struct{}

func (unasked) Ask(context.Context, []promql.Wanted)   {}
func (unasked) Answer(string, time.Time) promql.Answer { return promql.Answer{} }
func (unasked) Wait()                                  {}

// untold is told of events.
type untold struct{}

func (untold) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}
