// Package pods watches the pods of one node: where they are and what their
// bandwidth annotations say. It is the agent's only use of the Kubernetes API.
package pods

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/workload"
)

// Pod is a pod with a network namespace of its own that may be sending.
type Pod struct {
	Namespace, Name, UID string
	IPs                  []netip.Addr // empty until the CNI has given one
	// Egress and Ingress are the bandwidth annotations as they stand, unparsed;
	// empty where there are none.
	Egress, Ingress string
}

// Watch follows the pods of one node. Make it with New, serve it with Run.
type Watch struct {
	informer cache.SharedIndexInformer
	changed  chan struct{}

	mu   sync.Mutex
	pods map[string]Pod // by UID
}

// New returns a Watch of the pods on node, by the API server of config.
func New(config *rest.Config, node string) (*Watch, error) {
	client, err := newClient(config)
	if err != nil {
		return nil, fmt.Errorf("watch the pods of node %s: %w", node, err)
	}
	onNode := cache.NewListWatchFromClient(client, "pods", metav1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", node))
	w := &Watch{
		informer: cache.NewSharedIndexInformer(onNode, &object{}, 0, cache.Indexers{}),
		changed:  make(chan struct{}, 1),
		pods:     map[string]Pod{},
	}
	if err := w.informer.SetTransform(strip); err != nil {
		return nil, fmt.Errorf("watch the pods of node %s: %w", node, err)
	}
	_, err = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    w.put,
		UpdateFunc: func(_, obj any) { w.put(obj) },
		DeleteFunc: w.remove,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the pods of node %s: %w", node, err)
	}
	return w, nil
}

func newClient(config *rest.Config) (*rest.RESTClient, error) {
	core := rest.CopyConfig(config)
	core.APIPath, core.GroupVersion = "/api", &coreV1
	core.ContentType = runtime.ContentTypeJSON // the only one that object has
	core.NegotiatedSerializer = serializer.NewCodecFactory(newScheme()).WithoutConversion()
	client, err := rest.RESTClientFor(core)
	if err != nil {
		return nil, fmt.Errorf("make an API client: %w", err)
	}
	return client, nil
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	w.informer.RunWithContext(ctx)
	return nil
}

// Synced reports whether the first list is complete.
func (w *Watch) Synced() bool { return w.informer.HasSynced() }

// Changed receives after the pods changed; several changes may come as one.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// List returns the pods ordered by UID.
func (w *Watch) List() []Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Pod, 0, len(w.pods))
	for _, p := range w.pods {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Pod) int { return strings.Compare(a.UID, b.UID) })
	return list
}

func (w *Watch) put(obj any) {
	o, ok := obj.(*object)
	if !ok {
		return
	}
	if o.Spec.HostNetwork || o.Status.Phase == succeeded || o.Status.Phase == failed {
		w.remove(o)
		return
	}
	p := Pod{
		Namespace: o.Namespace,
		Name:      o.Name,
		UID:       string(o.UID),
		Egress:    o.Annotations[workload.EgressBandwidth],
		Ingress:   o.Annotations[workload.IngressBandwidth],
	}
	for _, ip := range o.Status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			p.IPs = append(p.IPs, addr)
		}
	}
	w.mu.Lock()
	w.pods[p.UID] = p
	w.mu.Unlock()
	w.notify()
}

func (w *Watch) remove(obj any) {
	if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = unknown.Obj
	}
	o, ok := obj.(*object)
	if !ok {
		return
	}
	w.mu.Lock()
	delete(w.pods, string(o.UID))
	w.mu.Unlock()
	w.notify()
}

func (w *Watch) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
