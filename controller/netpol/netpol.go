// Package netpol keeps the CiliumNetworkPolicies that the webhook's Rego decides
// for pods: it makes them once a pod exists, keeps them as decided, and removes
// them with the last pod that needs them. Only the leader writes.
//
// A policy of a class's data yields: allow rules add up, so it is made only as
// far as no other policy, of Cilium or of Kubernetes, restricts a pod that it
// selects, and that is looked at again whenever pods or policies change. A policy
// of the site's own rules is made as it was decided.
package netpol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Events records Kubernetes Events (events.k8s.io).
type Events interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// Settings are what a Keeper works with.
type Settings struct {
	Config *rest.Config // to read; To writes
	To     *write.Writer
	Asker  Asker
	// Mode says how far detnet may go in a namespace, once Synced is closed.
	Mode       func(namespace string) workload.ControlMode
	Synced     <-chan struct{}
	Events     Events
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Keeper is the runnable.
type Keeper struct {
	Settings
	client kubernetes.Interface
	meta   metadata.Interface
	reader dynamic.Interface
	every  time.Duration // interval, but in tests
	budget *rate.Limiter

	// Everything below is the one worker's.
	queue   workqueue.TypedRateLimitingInterface[string]
	known   known
	cilium  ciliumConfig
	answers map[string]answers                 // by namespace
	sent    int                                // writes of this look
	unused  map[string]map[types.UID]time.Time // by namespace: policies that no pod needs, since when
	said    map[string]map[string]bool         // by namespace: what was said and still holds
	figures figures
}

// interval is how often modes, Cilium's kinds and configuration, and the time of
// what is unused are looked at.
const interval = 30 * time.Second

// Back-off of a namespace in which something failed.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// Writes per second, and how many at once, besides the budget of limits: who makes
// many pods with a policy each takes nothing from those.
const (
	writeRate  = 10
	writeBurst = 20
)

// perLook is how many kinds of pods of a namespace are asked about, and how many
// policies written, before the others have their turn.
const perLook = 20

// New returns a Keeper that has not begun.
func New(s Settings) (*Keeper, error) {
	k := &Keeper{
		Settings: s, every: interval, budget: write.NewBudget(writeRate, writeBurst), figures: newFigures(s.Registerer),
	}
	k.forget()
	var err error
	if k.client, err = kubernetes.NewForConfig(s.Config); err != nil {
		return nil, fmt.Errorf("keep network policies: %w", err)
	}
	if k.meta, err = metadata.NewForConfig(s.Config); err != nil {
		return nil, fmt.Errorf("keep network policies: %w", err)
	}
	if k.reader, err = dynamic.NewForConfig(s.Config); err != nil {
		return nil, fmt.Errorf("keep network policies: %w", err)
	}
	return k, nil
}

// forget ends what is known and shown: another may keep the policies from now on.
func (k *Keeper) forget() {
	k.answers, k.unused, k.said = map[string]answers{}, map[string]map[types.UID]time.Time{}, map[string]map[string]bool{}
	for namespace := range k.figures.counts {
		k.figures.forget(namespace)
	}
}

// Start keeps the policies until ctx ends. It waits for Cilium's kinds, which
// may come and go.
func (k *Keeper) Start(ctx context.Context) error {
	defer k.forget()
	select {
	case <-ctx.Done():
		return nil
	case <-k.Synced:
	}
	ticker := time.NewTicker(k.every)
	defer ticker.Stop()
	for {
		kinds, err := k.kinds()
		if err != nil {
			k.Log.WarnContext(ctx, "Cilium's kinds are not known", "err", err)
		}
		if slices.Contains(kinds, ciliumPolicies) {
			k.whileKinds(ctx, kinds)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// whileKinds works as long as the cluster has just these kinds.
func (k *Keeper) whileKinds(ctx context.Context, kinds []schema.GroupVersionResource) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ticker := time.NewTicker(k.every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if now, err := k.kinds(); err == nil && !slices.Equal(now, kinds) {
				cancel()
			}
		}
	}()
	k.work(ctx, kinds)
}

// The kinds of network policies.
var (
	ciliumPolicies      = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumnetworkpolicies"}
	clusterwidePolicies = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumclusterwidenetworkpolicies"}
	networkPolicies     = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	clusterPolicies     = schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"}
)

// kinds are those of them that the cluster has.
func (k *Keeper) kinds() ([]schema.GroupVersionResource, error) {
	var out []schema.GroupVersionResource
	for _, kind := range []schema.GroupVersionResource{networkPolicies, ciliumPolicies, clusterwidePolicies, clusterPolicies} {
		list, err := k.client.Discovery().ServerResourcesForGroupVersion(kind.GroupVersion().String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask for %s: %w", kind.GroupVersion(), err)
		}
		for _, r := range list.APIResources {
			if r.Name == kind.Resource {
				out = append(out, kind)
			}
		}
	}
	return out, nil
}

// work follows pods and policies and keeps each namespace, one at a time.
func (k *Keeper) work(ctx context.Context, kinds []schema.GroupVersionResource) {
	k.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry))
	stop, err := k.follow(ctx, kinds)
	if err != nil {
		k.Log.ErrorContext(ctx, "network policies are not followed", "err", err)
		return
	}
	defer stop()
	k.lookAround(ctx)
	go k.resync(ctx, k.queue)
	for {
		namespace, shutdown := k.queue.Get()
		if shutdown {
			return
		}
		if namespace == everything {
			k.lookAround(ctx)
		} else if err := k.keep(ctx, namespace); errors.Is(err, errMore) {
			k.queue.Add(namespace) // behind the others
		} else if err != nil {
			k.queue.AddRateLimited(namespace)
		} else {
			k.queue.Forget(namespace)
		}
		k.queue.Done(namespace)
	}
}

// everything in the queue stands for what concerns all namespaces; none has that
// name.
const everything = ""

// resync has everything looked at now and then, and ends the queue with ctx.
func (k *Keeper) resync(ctx context.Context, queue workqueue.TypedInterface[string]) {
	ticker := time.NewTicker(k.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			queue.ShutDown()
			return
		case <-ticker.C:
			queue.Add(everything)
		}
	}
}

// lookAround reads Cilium's configuration and has every namespace looked at that
// has pods or policies.
func (k *Keeper) lookAround(ctx context.Context) {
	var err error
	if k.cilium, err = readCilium(ctx, k.client); err != nil {
		k.Log.WarnContext(ctx, "Cilium's configuration is not known", "err", err)
	}
	concerned := k.known.namespaces()
	for _, namespace := range slices.Collect(maps.Keys(k.answers)) {
		if !slices.Contains(concerned, namespace) {
			delete(k.answers, namespace)
			delete(k.unused, namespace)
			delete(k.said, namespace)
			k.figures.forget(namespace)
		}
	}
	for _, namespace := range concerned {
		k.queue.Add(namespace)
	}
}
