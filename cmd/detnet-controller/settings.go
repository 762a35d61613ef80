package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/marks"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/workload"
)

// over lays the flags over a configuration.
func (o options) over(c config.Config) (config.Config, error) {
	c.Mode = workload.ControlMode(cmp.Or(o.mode, string(c.Mode)))
	c.Law = cmp.Or(o.law, c.Law)
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("flags: %w", err)
	}
	return c, nil
}

// settings hands a configuration to those who work by it.
type settings struct {
	inventory    *inventory.Inventory
	budget       *rate.Limiter // of writes
	writer       *write.Writer
	queries      *promql.Poller
	loop         *controller.Loop
	rolloutEvery *atomic.Int64 // a time.Duration
	marks        *atomic.Pointer[marks.Config]
	self         *corev1.Pod
	registry     *prometheus.Registry
}

func (s settings) apply(c config.Settings) error {
	chosen, err := law.New(c.Law, c.Laws)
	if err != nil {
		return err
	}
	s.inventory.SetMode(c.Mode)
	s.inventory.SetStatic(c.Targets)
	write.SetBudget(s.budget, c.WritesPerSecond, c.WriteBurst)
	s.queries.Set(c.Prometheus)
	s.rolloutEvery.Store(int64(c.RolloutEvery))
	s.marks.Store(&c.Nodes)
	s.loop.Set(controller.Settings{Law: chosen, Config: c.Laws, Mode: c.Mode, Vantages: c.Vantages})
	return nil
}

// follow applies the files as they change; what can't be applied is said in the
// log, as an Event on this pod and by a metric, and the last good state stays.
func (s settings) follow(files *config.Files, log *slog.Logger) program.EveryReplica {
	return func(ctx context.Context) error {
		files.Follow(ctx, func(now config.Settings, refused map[string]error) {
			for _, name := range slices.Sorted(maps.Keys(refused)) {
				log.Error("settings refused, the last good ones stay", "file", name, "err", refused[name])
				s.announce(corev1.EventTypeWarning, "SettingsRefused", refused[name].Error())
			}
			if err := s.apply(now); err != nil {
				log.Error("settings not applied", "err", err)
				return
			}
			warnIgnored(now.Targets, log)
			log.Info("settings in use", "mode", now.Mode, "law", now.Law, "static_apps", len(now.Targets.Apps), "static_deployments", len(now.Targets.Deployments))
			if len(refused) == 0 {
				s.announce(corev1.EventTypeNormal, "SettingsTaken", "the settings were changed and are in use")
			}
		})
		return nil
	}
}

func warnIgnored(t targets.Targets, log *slog.Logger) {
	for _, what := range t.Ignored {
		log.Warn("static targets: ignored", "what", what)
	}
	for _, what := range t.Assumed {
		log.Warn("static targets: assumed", "what", what)
	}
}

// maxNote is the length of an Event's note that the API server takes.
const maxNote = 1000

// announce puts an Event on the controller's own pod, where it runs in one.
func (s settings) announce(kind, reason, note string) {
	if s.self.Name == "" {
		return
	}
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote], "") + " …"
	}
	s.loop.Events.Eventf(s.self, nil, kind, reason, "load", "%s", note)
}

// ownPod is this pod, as far as its environment tells.
func ownPod(namespace string) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, pod.UID = namespace, os.Getenv("POD_NAME"), types.UID(os.Getenv("POD_UID"))
	return pod
}
