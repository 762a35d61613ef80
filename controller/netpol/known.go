package netpol

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/workload"
)

// known is what the informers hold.
type known struct {
	pods, spaces cache.Indexer
	cilium       cache.Indexer   // CiliumNetworkPolicies
	namespaced   []cache.Indexer // the policies of a namespace, Cilium's among them
	clusterwide  []cache.Indexer
}

var readers = map[schema.GroupVersionResource]func(*unstructured.Unstructured) *policy{
	networkPolicies: ofKubernetes, ciliumPolicies: ofCilium, clusterwidePolicies: ofCilium, clusterPolicies: ofAdministrators,
}

var byNamespace = cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}

// follow starts the informers and returns when their first lists are in; stop
// ends them and returns when they are done.
func (k *Keeper) follow(ctx context.Context, kinds []schema.GroupVersionResource) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	k.known = known{}
	var all []cache.SharedIndexInformer
	add := func(informer cache.SharedIndexInformer, transform cache.TransformFunc, changed cache.ResourceEventHandler) cache.Indexer {
		err = errors.Join(err, informer.SetTransform(transform))
		_, failed := informer.AddEventHandler(changed)
		err = errors.Join(err, failed)
		all = append(all, informer)
		return informer.GetIndexer()
	}
	k.known.pods = add(k.metadataOf("pods", func(o *metav1.ListOptions) {
		o.LabelSelector, o.FieldSelector = workload.LabelClass, "status.phase!=Succeeded,status.phase!=Failed"
	}), func(o any) (any, error) {
		if m, ok := o.(*metav1.PartialObjectMetadata); ok {
			return slimPod(m), nil
		}
		return o, nil
	}, k.onPods())
	k.known.spaces = add(k.metadataOf("namespaces", nil), func(o any) (any, error) {
		if m, ok := o.(*metav1.PartialObjectMetadata); ok {
			m.ManagedFields, m.Annotations = nil, nil
		}
		return o, nil
	}, k.onNamespaces())
	for _, kind := range kinds {
		read := readers[kind]
		indexer := add(dynamicinformer.NewFilteredDynamicInformer(k.reader, kind, metav1.NamespaceAll, 0, byNamespace, nil).Informer(),
			func(o any) (any, error) {
				if u, ok := o.(*unstructured.Unstructured); ok {
					return read(u), nil
				}
				return o, nil
			}, k.onPolicies())
		switch kind {
		case networkPolicies:
			k.known.namespaced = append(k.known.namespaced, indexer)
		case ciliumPolicies:
			k.known.cilium = indexer
			k.known.namespaced = append(k.known.namespaced, indexer)
		default:
			k.known.clusterwide = append(k.known.clusterwide, indexer)
		}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("follow pods and policies: %w", err)
	}
	return cancelAll(ctx, cancel, all), nil
}

// cancelAll runs the informers, waits for their first lists, and returns what
// ends them.
func cancelAll(ctx context.Context, cancel func(), all []cache.SharedIndexInformer) (stop func()) {
	done := make(chan struct{}, len(all))
	synced := make([]cache.InformerSynced, len(all))
	for i, informer := range all {
		synced[i] = informer.HasSynced
		go func() {
			informer.RunWithContext(ctx)
			done <- struct{}{}
		}()
	}
	cache.WaitForCacheSync(ctx.Done(), synced...)
	return func() {
		cancel()
		for range all {
			<-done
		}
	}
}

func (k *Keeper) metadataOf(resource string, tweak func(*metav1.ListOptions)) cache.SharedIndexInformer {
	return metadatainformer.NewFilteredMetadataInformer(k.meta, schema.GroupVersionResource{Version: "v1", Resource: resource},
		metav1.NamespaceAll, 0, byNamespace, tweak).Informer()
}

// onPods has a pod's namespace looked at when something that matters changed.
func (k *Keeper) onPods() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: k.enqueue,
		UpdateFunc: func(before, after any) {
			old, ok := before.(*pod)
			now, too := after.(*pod)
			if !ok || !too || !now.same(old) {
				k.enqueue(after)
			}
		},
		DeleteFunc: k.enqueue,
	}
}

func (k *Keeper) onPolicies() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{AddFunc: k.enqueue, UpdateFunc: func(_, after any) { k.enqueue(after) }, DeleteFunc: k.enqueue}
}

// onNamespaces looks at a namespace whose labels or mode may have changed.
func (k *Keeper) onNamespaces() cache.ResourceEventHandler {
	look := func(object any) {
		if m, ok := object.(*metav1.PartialObjectMetadata); ok {
			k.queue.Add(m.Name)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: look, UpdateFunc: func(_, after any) { look(after) }}
}

// enqueue has the object's namespace looked at, or all where it has none.
func (k *Keeper) enqueue(object any) {
	key, err := cache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	k.queue.Add(key.Namespace)
}

// scene gathers what is known of a namespace.
func (n known) scene(namespace string) *scene {
	s := &scene{name: namespace}
	if object, ok, _ := n.spaces.GetByKey(namespace); ok {
		if m, ok := object.(*metav1.PartialObjectMetadata); ok {
			s.labels = m.Labels
		}
	}
	s.pods = inside[*pod](n.pods, namespace)
	for _, indexer := range n.namespaced {
		for _, p := range inside[*policy](indexer, namespace) {
			if p.isOurs() {
				s.have = append(s.have, p)
			} else if len(p.closes) > 0 {
				s.others = append(s.others, p)
			}
		}
	}
	for _, indexer := range n.clusterwide {
		for _, object := range indexer.List() {
			if p, ok := object.(*policy); ok && len(p.closes) > 0 {
				s.others = append(s.others, p)
			}
		}
	}
	return s
}

// taken reports whether a CiliumNetworkPolicy of that name is somebody else's.
func (n known) taken(namespace, name string) bool {
	object, ok, _ := n.cilium.GetByKey(namespace + "/" + name)
	p, read := object.(*policy)
	return ok && read && !p.isOurs()
}

// inside are the objects of a namespace, by name.
func inside[T metav1.Object](indexer cache.Indexer, namespace string) []T {
	list, _ := indexer.ByIndex(cache.NamespaceIndex, namespace) // the index exists
	var out []T
	for _, object := range list {
		if o, ok := object.(T); ok {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return out
}

// namespaces are those with classed pods or with policies of detnet's.
func (n known) namespaces() []string {
	out := n.pods.ListIndexFuncValues(cache.NamespaceIndex)
	for _, object := range n.cilium.List() {
		if p, ok := object.(*policy); ok && p.isOurs() {
			out = append(out, p.Namespace)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
