package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/rollout"
	"github.com/detnet/detnet/controller/ui"
)

// version is set by the linker.
var version = "dev"

// agentName is on the agents' certificate, whatever address is dialled.
const agentName = "detnet-agent"

// The lease is shorter than controller-runtime's: while nobody leads, nobody
// cuts. A leader that stops in order releases it at once.
var (
	leaseDuration = 8 * time.Second
	renewDeadline = 5 * time.Second
	retryPeriod   = time.Second
)

func serve(ctx context.Context, o options, log *slog.Logger) error {
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log)

	static, err := loadTargets(o, log)
	if err != nil {
		return err
	}
	base := config.Default()
	base.Laws = static.Control.Over(base.Laws)
	file, cfg, err := load(o, base)
	if err != nil {
		return err
	}
	cluster, err := clusterConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", cluster.Host, err)
	}
	mgr, err := ctrl.NewManager(cluster, ctrl.Options{
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddr},
		HealthProbeBindAddress:        o.healthAddr,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leader.Lease,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &leaseDuration,
		RenewDeadline:                 &renewDeadline,
		RetryPeriod:                   &retryPeriod,
	})
	if err != nil {
		return fmt.Errorf("set up against %s: %w", cluster.Host, err)
	}
	creds, err := agentCredentials(mgr, o)
	if err != nil {
		return err
	}

	known := inventory.New(client, o.namespace, cfg.Mode)
	known.AddStatic(static)
	actuator := actuate.New(actuate.Pods{Client: client.CoreV1()}, actuate.DefaultConfig(), log, metrics.Registry)
	loop := &controller.Loop{
		Inventory:    known,
		Measurements: agents.New(creds, log),
		Limits:       actuator,
		Events:       mgr.GetEventRecorder(actuate.FieldManager),
		Log:          log,
		Replica:      replica(),
		Version:      version,
	}
	loop.Metrics = controller.NewMetrics(metrics.Registry, loop.Status)
	s := settings{known, actuator, loop, new(atomic.Int64)}
	if err := s.apply(cfg); err != nil {
		return err
	}

	runnables := []manager.Runnable{known, loop, &rollout.Rollout{
		Snapshot: known.Snapshot, Client: client, Log: log,
		Every: func() time.Duration { return time.Duration(s.rolloutEvery.Load()) },
	}}
	if file != nil {
		runnables = append(runnables, s.follow(file, o, log, metrics.Registry))
	}
	for _, r := range runnables {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
	}
	if o.uiAddr != "0" && o.uiAddr != "" {
		server := &http.Server{Addr: o.uiAddr, Handler: ui.Handler(loop.Status, leader.Reader{Client: client, Namespace: o.namespace}.Read), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
		if err := mgr.Add(&manager.Server{Name: "status", Server: server}); err != nil {
			return fmt.Errorf("set up the status page: %w", err)
		}
	}
	if err := addChecks(mgr, known); err != nil {
		return err
	}
	log.Info("starting", "version", version, "mode", cfg.Mode, "law", cfg.Law, "namespace", o.namespace)
	return mgr.Start(ctx)
}

func clusterConfig(kubeconfig string) (*rest.Config, error) {
	var c *rest.Config
	var err error
	if kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else if c, err = rest.InClusterConfig(); err != nil {
		err = fmt.Errorf("%w; outside a pod give --kubeconfig", err)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	// The actuator has its own budget; this one only must not be in its way.
	c.QPS, c.Burst = 100, 200
	c.UserAgent = actuate.FieldManager + "/" + version
	return c, nil
}

func agentCredentials(mgr manager.Manager, o options) (credentials.TransportCredentials, error) {
	switch {
	case o.agentTLSSecret != "":
		secret, err := certs.SelfManaged(mgr, certs.Config{
			Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.agentTLSSecret},
			DNSNames: []string{agentName},
		})
		if err != nil {
			return nil, err
		}
		return credentials.NewTLS(secret.MutualClientConfig(agentName)), nil
	case o.agentTLSDir != "":
		dir, err := certs.OpenDir(o.agentTLSDir)
		if err != nil {
			return nil, err
		}
		if err := mgr.Add(everyReplica{dir.Run}); err != nil {
			return nil, fmt.Errorf("follow certificates: %w", err)
		}
		return credentials.NewTLS(dir.MutualClientConfig(agentName)), nil
	}
	return insecure.NewCredentials(), nil
}

// everyReplica runs on leaders and standbys alike.
type everyReplica struct{ run func(context.Context) error }

func (r everyReplica) Start(ctx context.Context) error { return r.run(ctx) }
func (everyReplica) NeedLeaderElection() bool          { return false }

func addChecks(mgr manager.Manager, known *inventory.Inventory) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("set up health checks: %w", err)
	}
	synced := func(*http.Request) error {
		select {
		case <-known.Synced():
			return nil
		default:
			return fmt.Errorf("the first list of pods is not in yet")
		}
	}
	if err := mgr.AddReadyzCheck("inventory", synced); err != nil {
		return fmt.Errorf("set up health checks: %w", err)
	}
	return nil
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
