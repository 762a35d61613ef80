package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/detnet/detnet/internal/httpurl"
	"github.com/detnet/detnet/internal/plainfile"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/live"
)

// policySource is where the site's policy comes from: a directory or a signed bundle laid over the
// default set, or nowhere.
type policySource struct {
	dir         *live.Dir
	bundle      *live.Bundle
	every       time.Duration
	withDefault bool // where it can't be used
}

func openPolicy(o options) (s policySource, err error) {
	s = policySource{every: o.bundleEvery, withDefault: o.policyFallback == fallbackDefault}
	if o.policyDir != "" {
		s.dir, err = live.NewDir(o.policyDir, o.policyKeep)
		return s, err
	}
	if o.bundleURL == "" {
		return s, nil
	}
	key, err := plainfile.Read(o.bundleKey)
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
	s.bundle.KeepIn(o.policyKeep)
	return s, nil
}

// What is in force where the site's policy can't be used, and none was kept.
const (
	fallbackDefault = "default"
	fallbackNone    = "none"
)

// checkPolicy refuses flags of the policy that contradict each other.
func (o *options) checkPolicy() error {
	switch {
	case o.policyFallback != fallbackDefault && o.policyFallback != fallbackNone:
		return fmt.Errorf("--policy-fallback %q: want default or none", o.policyFallback)
	case o.bundleURL == "":
		return nil
	case o.policyDir != "":
		return errors.New("--policy-dir and --policy-bundle exclude each other")
	case o.bundleKey == "":
		return errors.New("--policy-bundle needs --policy-bundle-key: unsigned policies are not taken")
	case !live.ValidURL(o.bundleURL):
		return errors.New("--policy-bundle must be an http or https URL with a host, and without a user or password (--policy-bundle-token-file), such as https://policies.example/bundle.tar.gz")
	case o.bundleEvery < live.LeastEvery || o.bundleEvery > live.MostEvery:
		return fmt.Errorf("--policy-bundle-interval=%v must be from %v to %v", o.bundleEvery, live.LeastEvery, live.MostEvery)
	case o.bundleAccess.Secret() && !httpurl.Encrypted(o.bundleURL):
		return errors.New("--policy-bundle: credentials go over https only")
	}
	return nil
}

// load reads, compiles and tests the policy. Where the site's can't be used something stands in.
func (s policySource) load(ctx context.Context, log *slog.Logger) (live.Start, error) {
	switch {
	case s.bundle != nil:
		return s.bundle.Start(ctx, s.withDefault, log)
	case s.dir != nil:
		return s.dir.Start(ctx, s.withDefault, log)
	}
	engine, err := policies.Load(ctx, policies.Default())
	return live.Start{Engine: engine}, err
}

// activate puts in force what the program starts with, and says what it is.
func activate(start live.Start, registry *prometheus.Registry, log *slog.Logger) *live.Active {
	active := live.NewActive(start.Engine, time.Now(), registry)
	if start.Instead == "" {
		log.Info("policy set in force", "hash", start.Engine.Hash())
		return active
	}
	active.StandIn(start.Instead, start.Why)
	log.Error("the site's policy can't be used; something stands in until it can", "instead", start.Instead, "hash", start.Engine.Hash(), "err", start.Why)
	return active
}

// follow reloads until ctx ends.
func (s policySource) follow(ctx context.Context, start live.Start, active *live.Active, log *slog.Logger, refused func(error)) error {
	switch {
	case s.bundle != nil:
		return s.bundle.Follow(ctx, s.every, active, log, refused)
	case s.dir != nil:
		return s.dir.Follow(ctx, start, active, log, refused)
	}
	return nil
}

// addStandby keeps this replica from being ready with the default set alone while another one is there.
func addStandby(mgr manager.Manager, namespace string, active *live.Active, log *slog.Logger) (healthz.Checker, error) {
	client, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	standby := &live.Standby{Active: active, Client: client, Namespace: namespace, Self: os.Getenv("POD_NAME"), Log: log}
	return standby.Ready, mgr.Add(program.EveryReplica(standby.Run))
}

// addShadow evaluates the candidate in dir beside the policy in force.
func addShadow(mgr manager.Manager, dir string, active *live.Active, registry *prometheus.Registry, log *slog.Logger, refused func(error)) error {
	if dir == "" {
		return nil
	}
	shadow := live.NewShadow(registry)
	active.WithShadow(shadow)
	if err := mgr.Add(program.EveryReplica(shadow.Run)); err != nil {
		return err
	}
	return mgr.Add(program.EveryReplica(func(ctx context.Context) error { return shadow.Follow(ctx, dir, log, refused) }))
}
