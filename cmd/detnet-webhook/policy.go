package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
)

// policySource is where the policy comes from: the default set alone, or a
// directory or a signed bundle laid over it.
type policySource struct {
	dir    string
	bundle *live.Bundle
	every  time.Duration
}

func openPolicy(o options) (policySource, error) {
	s := policySource{dir: o.policyDir, every: o.bundleEvery}
	if o.bundleURL == "" {
		return s, nil
	}
	key, err := os.ReadFile(o.bundleKey)
	if err != nil {
		return s, fmt.Errorf("read the key of the policy bundle: %w", err)
	}
	s.bundle, err = live.NewBundle(o.bundleURL, key, &http.Client{Timeout: 30 * time.Second})
	return s, err
}

// load reads, compiles and tests the policy: a broken one must not start.
func (s policySource) load(ctx context.Context) (*policies.Engine, error) {
	var site policies.Set
	var err error
	switch {
	case s.bundle != nil:
		site, err = s.bundle.Fetch(ctx)
	case s.dir != "":
		site, err = policies.ReadDir(s.dir)
	}
	if err != nil {
		return nil, err
	}
	return policies.Load(ctx, site.Over(policies.Default()))
}

// follow reloads until ctx ends.
func (s policySource) follow(ctx context.Context, active *live.Active, log *slog.Logger, refused func(error)) error {
	switch {
	case s.bundle != nil:
		return s.bundle.Follow(ctx, s.every, active, log, refused)
	case s.dir != "":
		return live.Follow(ctx, s.dir, active, log, refused)
	}
	return nil
}

// addShadow evaluates the candidate in dir beside the policy in force.
func addShadow(mgr manager.Manager, dir string, active *live.Active, log *slog.Logger, refused func(error)) error {
	if dir == "" {
		return nil
	}
	shadow := live.NewShadow(metrics.Registry)
	active.WithShadow(shadow)
	if err := mgr.Add(program.EveryReplica(shadow.Run)); err != nil {
		return err
	}
	return mgr.Add(program.EveryReplica(func(ctx context.Context) error { return live.Follow(ctx, dir, shadow, log, refused) }))
}
