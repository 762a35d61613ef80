package webhook

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Informers answers from the manager's cache. It watches the metadata of
// namespaces and of the pods that have a class, and PriorityClasses.
type Informers struct {
	cached client.Reader
	live   client.Reader
}

// byWorkload indexes pods by the workload they belong to.
const byWorkload = "workload"

// CacheOptions keeps the cache to what Informers reads.
func CacheOptions() cache.Options {
	classed, err := labels.NewRequirement(workload.LabelClass, selection.Exists, nil)
	if err != nil {
		panic(err) // a constant
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			podMetadata(): {
				Label: labels.NewSelector().Add(*classed),
				Field: fields.ParseSelectorOrDie("status.phase!=Succeeded,status.phase!=Failed"),
			},
		},
	}
}

// NewInformers starts what it needs on c. Live is asked for a namespace that
// the cache does not know yet.
func NewInformers(ctx context.Context, c cache.Cache, live client.Reader) (*Informers, error) {
	if err := c.IndexField(ctx, podMetadata(), byWorkload, func(o client.Object) []string {
		if id := workloadOf(o); id != "" {
			return []string{id}
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("index pods by workload: %w", err)
	}
	for _, object := range []client.Object{namespaceMetadata(), podMetadata(), &schedulingv1.PriorityClass{}} {
		if _, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watch %T: %w", object, err)
		}
	}
	return &Informers{cached: c, live: live}, nil
}

func podMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return m
}

func namespaceMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return m
}

// Namespace returns the labels and annotations of a namespace. One that was
// made a moment ago, as by the same "kubectl apply", is not in the cache yet:
// it is read from the API server.
func (i *Informers) Namespace(ctx context.Context, name string) (policies.Namespace, error) {
	m := namespaceMetadata()
	err := i.cached.Get(ctx, client.ObjectKey{Name: name}, m)
	if apierrors.IsNotFound(err) {
		err = i.live.Get(ctx, client.ObjectKey{Name: name}, m)
	}
	if err != nil {
		return policies.Namespace{}, err
	}
	return policies.Namespace{Name: name, Labels: m.Labels, Annotations: m.Annotations}, nil
}

// Siblings returns the running pods of the workload that pod will belong to.
func (i *Informers) Siblings(ctx context.Context, namespace string, pod *corev1.Pod) ([]policies.Sibling, error) {
	id := workloadOf(pod)
	if id == "" {
		return nil, nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := i.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{byWorkload: id}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var out []policies.Sibling
	for _, item := range list.Items {
		// A limit that can't be read is not a limit to begin with.
		if r, err := bitrate.Parse(item.Annotations[workload.EgressBandwidth]); err == nil && item.Annotations[workload.InitialBandwidth] != "" {
			out = append(out, policies.Sibling{Name: item.Name, Egress: r})
		}
	}
	return out, nil
}

// workloadOf names the workload by its controller. A Deployment makes a new
// ReplicaSet for each rollout, so its hash is cut off: the new pods are
// siblings of the old.
func workloadOf(pod client.Object) string {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return ""
	}
	name := owner.Name
	if owner.Kind == "ReplicaSet" {
		for _, key := range []string{"pod-template-hash", "rollouts-pod-template-hash"} {
			if hash := pod.GetLabels()[key]; hash != "" {
				name = strings.TrimSuffix(name, "-"+hash)
			}
		}
	}
	return owner.Kind + "/" + name
}

// Priorities looks up the PriorityClass called name and the default one.
func (i *Informers) Priorities(ctx context.Context, name string) (Priorities, error) {
	var p Priorities
	if name == "" {
		return p, nil
	}
	var list schedulingv1.PriorityClassList
	if err := i.cached.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return p, err
	}
	for n := range list.Items {
		class := &list.Items[n]
		if class.Name == name {
			p.Wanted = class
		}
		if class.GlobalDefault {
			p.Default = class.Name
		}
	}
	return p, nil
}
