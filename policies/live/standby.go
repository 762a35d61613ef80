package live

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
)

// Standby keeps a replica that has nothing but the default set from being ready while another one
// is: that may have the site's policy, and a rollout must not replace it.
type Standby struct {
	Active          *Active
	Client          kubernetes.Interface
	Namespace, Self string // of this replica's pod
	Log             *slog.Logger

	needed atomic.Bool // nobody else was ready
}

// Ready is a healthz.Checker.
func (s *Standby) Ready(*http.Request) error {
	if s.Active.standsIn() != defaultSet || s.needed.Load() {
		return nil
	}
	return errors.New("the site's policy can't be used, and another replica of the webhook is there: this one stands by")
}

// standbyEvery is how often a replica that stands by looks for the others.
const standbyEvery = 2 * time.Second

// Run looks for others until there is none, the site's policy is in force or ctx ends. What it
// can't find out while the API server is away nobody needs: no pod is admitted then.
func (s *Standby) Run(ctx context.Context) error {
	tick := time.NewTicker(standbyEvery)
	defer tick.Stop()
	told := false
	for s.Active.standsIn() == defaultSet {
		pods, err := replicas(ctx, s.Client, s.Namespace)
		other := slices.IndexFunc(pods, func(p corev1.Pod) bool {
			return p.Name != s.Self && p.DeletionTimestamp == nil && ready(&p)
		})
		switch {
		case apierrors.IsForbidden(err), err == nil && other < 0:
			s.needed.Store(true)
			s.Log.Warn("the default set decides about pods: no other replica of the webhook is known", "err", err)
			return nil
		case err == nil && !told:
			told = true
			s.Log.Warn("standing by, not ready: another replica of the webhook is, which may have the site's policy", "other", pods[other].Name)
		case err != nil:
			s.Log.Warn("looking for the other replicas of the webhook", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}
