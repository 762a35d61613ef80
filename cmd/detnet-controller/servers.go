package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/ui"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/workload/signature"
)

// servers are the pages that every replica serves.
type servers struct {
	ctx context.Context
	mgr manager.Manager
	log *slog.Logger

	registry *prometheus.Registry
}

// atOnce bounds what is made at once for who scrapes or looks: some MB each with many pods.
const atOnce = 4

// Compressing the figures of many nodes takes more of the processor than all else about them,
// for some kB a second less on the cluster's own network.
var scraping = promhttp.HandlerOpts{DisableCompression: true}

func (s servers) add(o options, set settings, client kubernetes.Interface, own *certs.Current, living *alive.Watch) error {
	status := http.NewServeMux()
	status.Handle("/", listen.InTurn(atOnce, ui.Handler(set.loop.Status, leader.Reader{Client: client, Namespace: o.namespace}.Read)))
	status.Handle("GET "+leader.RecordingPath, &set.loop.Flight)
	scrape := http.NewServeMux()
	scrape.Handle("GET /metrics", listen.InTurn(atOnce, promhttp.HandlerFor(set.loop.Metrics.Gatherer(prometheus.Gatherers{set.registry, metrics.Registry}), scraping)))
	health := http.NewServeMux()
	health.Handle("GET /healthz", living)
	health.Handle("GET /readyz", healthz.CheckHandler{Checker: func(*http.Request) error {
		select {
		case <-set.inventory.Synced():
			return nil
		default:
			return fmt.Errorf("the first list of pods, or the key of the stamps in Secret %s, is not in yet", signature.SecretName)
		}
	}})
	var scrapers *tls.Config // nil: plain text
	if o.metricsClientCA != "" {
		scrapers = certs.Callers{Files: []string{o.metricsClientCA}}.Require(own.ServerConfig())
	}
	return errors.Join(s.serve("health", o.healthAddr, nil, health), s.serve("metrics", o.metricsAddr, scrapers, scrape), s.serve("status", o.uiAddr, nil, status))
}

// serve serves h on addr once the manager starts, over TLS if secured says how; 0
// and "" mean none.
func (s servers) serve(name, addr string, secured *tls.Config, h http.Handler) error {
	if addr == "0" || addr == "" {
		return nil
	}
	listener, err := listen.TCP(s.ctx, name, addr, listen.Few, s.log, s.registry)
	if err != nil {
		return err
	}
	server := &manager.Server{Name: name, Server: listener.HTTP(h), Listener: listener}
	if secured != nil {
		server.Listener = tls.NewListener(listener, secured)
	}
	if err := s.mgr.Add(server); err != nil {
		return fmt.Errorf("set up the server of %s: %w", name, err)
	}
	return nil
}
