package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/detnet/detnet/internal/httpurl"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
)

// policySource is where the policy comes from: the default set alone, or a
// directory or a signed bundle laid over it.
type policySource struct {
	dir         string
	bundle      *live.Bundle
	every       time.Duration
	withDefault bool // where there is no bundle
}

func openPolicy(o options) (policySource, error) {
	s := policySource{dir: o.policyDir, every: o.bundleEvery, withDefault: o.bundleFallback == fallbackDefault}
	if o.bundleURL == "" {
		return s, nil
	}
	key, err := os.ReadFile(o.bundleKey)
	if err != nil {
		return s, fmt.Errorf("read the key of the policy bundle: %w", err)
	}
	client, err := o.bundleAccess.Client()
	if err != nil {
		return s, err
	}
	if s.bundle, err = live.NewBundle(o.bundleURL, key, client); err != nil {
		return s, fmt.Errorf("read --policy-bundle-key %s: %w", o.bundleKey, err)
	}
	s.bundle.KeepIn(o.bundleKeep)
	return s, nil
}

// What is in force where there is no bundle, neither the server's nor a kept one.
const (
	fallbackDefault = "default"
	fallbackNone    = "none"
)

// checkBundle refuses flags of the bundle that contradict each other.
func (o *options) checkBundle() error {
	switch {
	case o.bundleURL == "":
		return nil
	case o.policyDir != "":
		return errors.New("--policy-dir and --policy-bundle exclude each other")
	case o.bundleKey == "":
		return errors.New("--policy-bundle needs --policy-bundle-key: unsigned policies are not taken")
	case o.bundleFallback != fallbackDefault && o.bundleFallback != fallbackNone:
		return fmt.Errorf("--policy-bundle-fallback %q: want default or none", o.bundleFallback)
	case !live.ValidURL(o.bundleURL):
		return errors.New("--policy-bundle must be an http or https URL with a host, and without a user or password (--policy-bundle-token-file), such as https://policies.example/bundle.tar.gz")
	case o.bundleEvery < live.LeastEvery || o.bundleEvery > live.MostEvery:
		return fmt.Errorf("--policy-bundle-interval=%v must be from %v to %v", o.bundleEvery, live.LeastEvery, live.MostEvery)
	case o.bundleAccess.Secret() && !httpurl.Encrypted(o.bundleURL):
		return errors.New("--policy-bundle: credentials go over https only")
	}
	return nil
}

// load reads, compiles and tests the policy: a broken one must not start. A
// bundle that can't be had has something stand in.
func (s policySource) load(ctx context.Context, log *slog.Logger) (live.Start, error) {
	if s.bundle != nil {
		return s.bundle.Start(ctx, s.withDefault, log)
	}
	var site policies.Set
	if s.dir != "" {
		var err error
		if site, err = policies.ReadDir(s.dir); err != nil {
			return live.Start{}, err
		}
	}
	engine, err := policies.Load(ctx, site.Over(policies.Default()))
	return live.Start{Engine: engine}, err
}

// activate puts in force what the program starts with, and says what it is.
func activate(start live.Start, log *slog.Logger) *live.Active {
	active := live.NewActive(start.Engine, time.Now(), metrics.Registry)
	if start.Instead == "" {
		log.Info("policy set in force", "hash", start.Engine.Hash())
		return active
	}
	active.StandIn(start.Instead, start.Why)
	log.Error("the policy bundle could not be had; something stands in until it can", "instead", start.Instead, "hash", start.Engine.Hash(), "err", start.Why)
	return active
}

// follow reloads until ctx ends. An Event says what the program started with.
func (s policySource) follow(ctx context.Context, start live.Start, active *live.Active, log *slog.Logger, refused func(error)) error {
	if start.Instead != "" {
		refused(fmt.Errorf("the %s stands in for the bundle: %w", start.Instead, start.Why))
	}
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
