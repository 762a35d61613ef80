// Command detnet-agent measures, and on some clusters enforces, on one node.
// In role probe it runs in the pod network and sends probes; in role node it
// runs in the host network and reads the interfaces' counters.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/detnet/detnet/agent"
	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/enforce"
	"github.com/detnet/detnet/agent/kube"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/locate"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/internal/program"
)

func main() {
	// One thread at a time is plenty, and a packet that is due wakes but one.
	runtime.GOMAXPROCS(1)
	// On every node memory counts for more than the little that is collected.
	debug.SetGCPercent(50)
	os.Exit(program.Run("detnet-agent", os.Args[1:], new(options)))
}

// Serve wires the agent together and runs it until ctx ends or a part fails.
func (o *options) Serve(ctx context.Context, log *slog.Logger) error {
	opts := *o
	log = log.With("node", opts.node, "role", opts.role)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	group, ctx := errgroup.WithContext(ctx)

	server := &agent.Server{Node: opts.node, Metrics: agent.NewMetrics(registry), Alive: alive.New(), Log: log}
	ready := func() bool { return true }
	var err error
	switch opts.role {
	case "probe":
		server.Role, server.Probes, server.FIN = api.Role_ROLE_PROBE, true, opts.tcpClose == "fin"
		err = startReflector(ctx, group, opts, server, registry, log)
	case "node":
		server.Role = api.Role_ROLE_NODE
		ready, err = startNode(ctx, group, opts, server, registry, log)
	}
	if err != nil {
		return err
	}
	var own *certs.Dir // nil: plain text
	if opts.tlsDir != "" {
		if own, err = certs.OpenDir(opts.tlsDir); err != nil {
			return err
		}
		if err := own.RegisterExpiry(registry, "agent"); err != nil {
			return err
		}
		group.Go(func() error { return own.Run(ctx) })
	}
	if err := startGRPC(ctx, group, opts, own, server, registry, log); err != nil {
		return err
	}
	if err := startHTTP(ctx, group, opts, own, registry, server.Alive, ready, log); err != nil {
		return err
	}
	log.Info("agent is serving", "listen", opts.listen, "metrics", opts.metricsAddr)
	return group.Wait()
}

// startReflector opens the session-reflector and gives the sessions the same keys.
func startReflector(ctx context.Context, group *errgroup.Group, opts options, server *agent.Server, registry *prometheus.Registry, log *slog.Logger) error {
	if opts.stampKeys != "" {
		// Keyrings are not shared: each goroutine reads the file by itself.
		server.Keys = func() (*probe.Keyring, error) { return probe.OpenKeyring(opts.stampKeys) }
	}
	if opts.reflector == "" {
		return nil
	}
	// Controllers hand keys over; where there is a file it alone counts.
	server.Reflecting = new(probe.Secrets)
	settings := opts.reflecting
	settings.Keys = server.Reflecting.Ring()
	if opts.stampKeys != "" {
		keys, err := probe.OpenKeyring(opts.stampKeys)
		if err != nil {
			return err
		}
		keys.Refused = func(err error) { log.Warn("the STAMP keys that were read last stay in force", "err", err) }
		settings.Keys, server.Reflecting = keys, nil
	}
	settings.Turns = server.Alive.Part("reflector", alive.Patience)
	conn, err := probe.ListenReflector("--reflector", opts.reflector)
	if err != nil {
		return err
	}
	reflector, err := probe.NewReflector(conn, settings, registry)
	if err != nil {
		return err
	}
	group.Go(func() error { return reflector.Serve(ctx) })
	return nil
}

// enforcePatience allows for a kernel whose lock of network configuration is
// held by others, while hundreds of pods begin at once.
const enforcePatience = 2 * time.Minute

// startNode begins to watch the node's pods, to measure them and, if asked, to
// enforce their limits.
func startNode(ctx context.Context, group *errgroup.Group, opts options, server *agent.Server, registry *prometheus.Registry, log *slog.Logger) (ready func() bool, err error) {
	client, err := kube.InCluster()
	if err != nil {
		return nil, fmt.Errorf("role node watches the pods of its node, and needs the cluster's API: %w", err)
	}
	watch := pods.New(client, opts.node, log)
	var limiter usage.Limiter
	if opts.enforce == "tc" {
		enforcer, err := enforce.New(watch, log, registry)
		if err != nil {
			return nil, err
		}
		server.Limits = new(limits.Ledger)
		enforcer.Ledger = server.Limits
		enforcer.Turns = server.Alive.Part("limits of the node's pods", enforcePatience)
		group.Go(func() error {
			return enforcer.Run(ctx, func() bool { return retired(client, opts.daemonSet, log) }) //nolint:contextcheck // asked when ctx has ended
		})
		limiter = enforcer
	}
	meter, err := usage.New(watch, locate.NewEndpoints(client), limiter, log)
	if err != nil {
		return nil, err
	}
	meter.Turns = server.Alive.Part("rates of the node's pods", enforcePatience)
	if server.Uplinks, err = uplink.NewWatch(log); err != nil {
		return nil, err
	}
	server.Meter, meter.Uplinks = meter, server.Uplinks
	group.Go(func() error { return server.Uplinks.Run(ctx) })
	group.Go(func() error { return watch.Run(ctx) })
	group.Go(func() error { return meter.Run(ctx) })
	return watch.Synced, nil
}

// controllers lets in those who may give orders.
func controllers(opts options, own *certs.Dir) (*tls.Config, error) {
	if opts.controllerCA == "" {
		return own.MutualServerConfig(), nil
	}
	config, err := certs.Callers{Files: []string{opts.controllerCA}}.Announce(own.ServerConfig())
	if err != nil {
		return nil, fmt.Errorf("tell who is a controller (--controller-ca-file): %w", err)
	}
	return config, nil
}

func startGRPC(ctx context.Context, group *errgroup.Group, opts options, own *certs.Dir, server *agent.Server, registry *prometheus.Registry, log *slog.Logger) error {
	listener, err := listen.TCP(ctx, "controllers", opts.listen, listen.Few, log, registry)
	if err != nil {
		return err
	}
	settings := agent.Bounds()
	if own != nil {
		secured, err := controllers(opts, own)
		if err != nil {
			return err
		}
		settings = append(settings, grpc.Creds(listener.Proving(credentials.NewTLS(secured))))
	}
	g := grpc.NewServer(settings...)
	server.Register(g)
	group.Go(func() error {
		stop := context.AfterFunc(ctx, g.Stop) // streams last as long as the controller likes: there is nothing to wait for
		defer stop()
		return g.Serve(listener)
	})
	return nil
}

// scrapesAtOnce is little: an agent has 128 MiB and one thread at a time, and probes with it.
const scrapesAtOnce = 2

// startHTTP serves metrics and health. Where metrics are for some only, so is the
// whole address by TLS; health checks need no certificate.
func startHTTP(ctx context.Context, group *errgroup.Group, opts options, own *certs.Dir, registry *prometheus.Registry, living *alive.Watch, ready func() bool, log *slog.Logger) error {
	mux := http.NewServeMux()
	var metrics http.Handler = listen.InTurn(scrapesAtOnce, promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	scrapers := certs.Callers{Files: []string{opts.metricsClientCA}}
	if opts.metricsClientCA != "" {
		metrics = scrapers.Handler(metrics)
	}
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /healthz", living)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "the list of this node's pods is not complete", http.StatusServiceUnavailable)
		}
	})
	listener, err := listen.TCP(ctx, "metrics", opts.metricsAddr, listen.Few, log, registry)
	if err != nil {
		return err
	}
	group.Go(func() error {
		if opts.metricsClientCA != "" {
			return listener.ServeTLS(ctx, scrapers.Ask(own.ServerConfig()), mux)
		}
		return listener.Serve(ctx, mux)
	})
	return nil
}
