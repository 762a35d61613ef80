package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/hostrouting"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/marks"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/release"
	"github.com/detnet/detnet/controller/repair"
	"github.com/detnet/detnet/controller/rollout"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/workload/signature"
)

// version is set by the linker.
var version = "dev"

func serve(ctx context.Context, o options, log *slog.Logger) error {
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)

	files, cfg, err := config.Open(o.config, o.staticTargets, o.over)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry() // controller-runtime's is the process's, and takes no name twice
	files.Register(registry)
	warnIgnored(cfg.Targets, log)
	cluster, err := clusterConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", cluster.Host, err)
	}
	held, writing, err := lead(cluster, o)
	if err != nil {
		return err
	}
	writes, err := kubernetes.NewForConfig(writing)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", cluster.Host, err)
	}
	mgr, err := newManager(cluster)
	if err != nil {
		return err
	}
	self, err := identify(mgr, o, registry)
	if err != nil {
		return err
	}

	known := inventory.New(client, o.namespace, cfg.Mode)
	known.Webhook = o.webhookConfig
	keys := &signature.Secret{Client: client, Namespace: o.namespace, Log: log, OnChange: known.SetKeys}
	limits := actuate.DefaultConfig()
	events := mgr.GetEventRecorder(write.FieldManager)
	writer := write.New(writes, limits.Budget, events, log)
	queries := promql.New(cfg.Prometheus, log, registry)
	living := alive.New()
	streams := agents.New(self.agents, log)
	if held != nil {
		streams.Deposed = held.Depose
	}
	routing := &hostrouting.Watch{Reader: client.CoreV1().ConfigMaps(metav1.NamespaceSystem), Log: log}
	loop := &controller.Loop{
		Turns:        living.Part("the loop of decisions", alive.Patience),
		Inventory:    known,
		Measurements: streams,
		Queries:      queries,
		Limits:       actuate.New(actuate.Pods{Writer: writer}, limits, log, registry),
		Refused:      writer.Refused,
		HostRouting:  routing.On,
		Events:       events,
		Log:          log,
		Replica:      replica(),
		Version:      version,
	}
	elected(loop, held)
	loop.Metrics = controller.NewMetrics(registry, loop.Status)
	s := settings{known, limits.Budget, writer, queries, loop, new(atomic.Int64), new(atomic.Pointer[marks.Config]), ownPod(o.namespace), registry}
	if err := s.apply(cfg); err != nil {
		return err
	}
	workers := s.workers(o, client, self, log)
	if policies, err := s.networkPolicies(o, cluster, client, self, keys, log); err != nil {
		return err
	} else if policies != nil {
		workers = append(workers, policies)
	}
	for _, r := range []manager.Runnable{known, &leader.Election{Held: held, Workers: workers, Log: log}, s.follow(files, log), keys, program.EveryReplica(routing.Run)} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	pages := servers{ctx, mgr, log, registry}
	if err := pages.add(o, s, client, self.serving, living); err != nil {
		return err
	}
	log.Info("starting", "version", version, "mode", cfg.Mode, "law", cfg.Law, "namespace", o.namespace)
	return mgr.Start(ctx)
}

// elected gives the loop the number of its term, and until when it leads.
func elected(loop *controller.Loop, held *leader.Held) {
	if held != nil {
		loop.Term, loop.Leads, loop.Speaks = held.Term, held.Leads, held.Speaks
		return
	}
	alone := leader.SingleTerm(time.Now())
	loop.Term = func(context.Context) (uint64, error) { return alone, nil }
}

// workers are what only a leader does.
func (s settings) workers(o options, client kubernetes.Interface, self identity, log *slog.Logger) []leader.Worker {
	all := []leader.Worker{s.loop, &rollout.Rollout{
		Inventory: s.inventory, Client: client, To: s.writer, Events: s.loop.Events, Log: log,
		Every: func() time.Duration { return time.Duration(s.rolloutEvery.Load()) },
	}, &marks.Marker{
		Snapshot: s.inventory.Snapshot, Reasons: s.loop.Reasons, Nodes: client.CoreV1().Nodes(), To: s.writer, Log: log,
		Config: func() marks.Config { return *s.marks.Load() },
	}, &release.Release{
		Snapshot: s.inventory.Snapshot, Mode: s.inventory.Mode, To: s.writer, Events: s.loop.Events, Log: log,
	}}
	if o.webhookConfig != "" {
		mender := &repair.Repair{Inventory: s.inventory, Client: client, To: s.writer, Events: s.loop.Events, Log: log, Webhook: o.webhookConfig, Certificate: self.shows}
		mender.Register(s.registry)
		all = append(all, mender)
	}
	return all
}

func replica() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
