package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/webhook"
)

// addPages serves health, metrics and status once the manager starts.
func addPages(ctx context.Context, mgr manager.Manager, o options, active *live.Active, living *alive.Watch, checks map[string]healthz.Checker, registry *prometheus.Registry, log *slog.Logger) error {
	health := http.NewServeMux()
	health.Handle("GET /healthz", living)
	ready := http.StripPrefix("/readyz", &healthz.Handler{Checks: checks})
	health.Handle("GET /readyz", ready)
	health.Handle("GET /readyz/", ready)
	pages := http.NewServeMux()
	pages.Handle("GET /metrics", listen.InTurn(4, promhttp.HandlerFor(prometheus.Gatherers{registry, metrics.Registry}, promhttp.HandlerOpts{})))
	pages.Handle("GET /status", listen.InTurn(4, webhook.StatusHandler(active.Status)))
	serve := func(name, addr string, h http.Handler) error {
		listener, err := listen.TCP(ctx, name, addr, listen.Few, log, registry)
		if err != nil {
			return err
		}
		if err := mgr.Add(&manager.Server{Name: name, Server: listener.HTTP(h), Listener: listener}); err != nil {
			return fmt.Errorf("set up the server of %s: %w", name, err)
		}
		return nil
	}
	return errors.Join(serve("health", o.healthAddr, health), serve("metrics", o.metricsAddr, pages))
}
