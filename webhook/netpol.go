package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// fieldOwner is the field manager of everything the webhook applies.
const fieldOwner = "detnet-webhook"

var policyKind = schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNetworkPolicy"}

// How long an applied policy is believed to exist, and how long a cluster
// without Cilium's CRDs is not asked again. The controller deletes policies
// that no pod has needed for UnusedFor.
const (
	believeApplied = workload.UnusedFor / 2
	believeAbsent  = time.Minute
)

// applyTimeout bounds what the first pod of a kind waits. The policy is worth
// less than the pod's start.
const applyTimeout = 2 * time.Second

// maxApplied bounds the memory of what was applied; beyond it, it starts anew.
const maxApplied = 8192

// Applier makes CiliumNetworkPolicies exist by server-side apply. Only the
// first pod that needs a policy waits for it.
type Applier struct {
	client client.Client
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex
	applied map[string]time.Time // key of namespace, name and content → believed until
	absent  time.Time            // until then the cluster has no such kind
}

// NewApplier returns an Applier that writes with c. Now is the clock.
func NewApplier(c client.Client, now func() time.Time) *Applier {
	return &Applier{client: c, now: now, applied: map[string]time.Time{}}
}

// Ensure applies those of the policies that are not known to exist. On a
// cluster without Cilium it does nothing.
func (a *Applier) Ensure(ctx context.Context, namespace string, list []policies.NetworkPolicy) error {
	var errs []error
	for _, p := range list {
		if err := a.ensure(ctx, namespace, p); err != nil {
			errs = append(errs, fmt.Errorf("apply CiliumNetworkPolicy %s/%s: %w", namespace, p.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (a *Applier) ensure(ctx context.Context, namespace string, p policies.NetworkPolicy) error {
	spec, err := json.Marshal(p.Spec)
	if err != nil {
		return err
	}
	key := applyKey(namespace, p.Name, spec)
	if a.known(key) {
		return nil
	}
	_, err, _ = a.flight.Do(key, func() (any, error) {
		// Others may wait for the same policy: it outlives this request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyTimeout)
		defer cancel()
		return nil, a.apply(ctx, namespace, p.Name, spec)
	})
	if isAbsent(err) {
		a.mu.Lock()
		a.absent = a.now().Add(believeAbsent)
		a.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.applied) >= maxApplied {
		clear(a.applied)
	}
	a.applied[key] = a.now().Add(believeApplied)
	return nil
}

func applyKey(namespace, name string, spec []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(spec)
	return fmt.Sprintf("%s/%s/%x", namespace, name, h.Sum64())
}

func (a *Applier) known(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	return now.Before(a.absent) || now.Before(a.applied[key])
}

func isAbsent(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }

// apply writes one policy. The object is a thin one around the rule: Cilium's
// own type would pull in its agent.
func (a *Applier) apply(ctx context.Context, namespace, name string, spec []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(spec, &fields); err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	object.SetGroupVersionKind(policyKind)
	object.SetNamespace(namespace)
	object.SetName(name)
	object.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "detnet"})
	object.SetAnnotations(map[string]string{workload.UnusedSince: workload.NeverUnused})
	return a.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldOwner), client.ForceOwnership)
}
