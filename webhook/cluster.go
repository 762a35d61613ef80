package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Informers answers from the manager's cache. It watches the metadata of
// namespaces, of the pods that have a class and of Jobs, and PriorityClasses.
type Informers struct {
	cached client.Reader
	live   client.Reader
	known  known
	left   departures
	named  []string // labels that name a workload, before anything else does
}

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
			jobMetadata(): {Transform: onlyOwners},
		},
	}
}

// NewInformers starts what it needs on c. Live is asked for a namespace or a Job
// that the cache does not know yet. The value of the first of siblingLabels that a
// pod has names its workload, whoever controls it.
func NewInformers(ctx context.Context, c cache.Cache, live client.Reader, siblingLabels ...string) (*Informers, error) {
	i := &Informers{cached: c, live: live, named: siblingLabels}
	for _, index := range []struct {
		object client.Object
		field  string
		of     func(client.Object) string
	}{{podMetadata(), byWorkload, i.workload}, {jobMetadata(), byOwner, ownerOf}} {
		if err := c.IndexField(ctx, index.object, index.field, func(o client.Object) []string {
			if id := index.of(o); id != "" {
				return []string{id}
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("index %s: %w", index.field, err)
		}
	}
	for _, object := range []client.Object{namespaceMetadata(), jobMetadata(), podMetadata(), &schedulingv1.PriorityClass{}} {
		informer, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", object, err)
		}
		if object.GetObjectKind().GroupVersionKind().Kind != "Pod" {
			continue
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(now any) { i.note(nil, now) }, UpdateFunc: i.note, DeleteFunc: i.forget,
		}); err != nil {
			return nil, fmt.Errorf("follow pods: %w", err)
		}
	}
	return i, nil
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
