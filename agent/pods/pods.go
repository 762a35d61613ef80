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

	corev1 "k8s.io/api/core/v1"
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
		informer: cache.NewSharedIndexInformer(onNode, &corev1.Pod{}, 0, cache.Indexers{}),
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

// newClient knows core/v1 alone: the clientset of all groups would more than
// double the program, whose mapped pages count as the agent's memory.
func newClient(config *rest.Config) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register the types of core/v1: %w", err)
	}
	core := rest.CopyConfig(config)
	core.APIPath, core.GroupVersion = "/api", &corev1.SchemeGroupVersion
	core.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
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
	object, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	if object.Spec.HostNetwork || object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
		w.remove(object)
		return
	}
	p := Pod{
		Namespace: object.Namespace,
		Name:      object.Name,
		UID:       string(object.UID),
		Egress:    object.Annotations[workload.EgressBandwidth],
		Ingress:   object.Annotations[workload.IngressBandwidth],
	}
	for _, ip := range object.Status.PodIPs {
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
	object, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	w.mu.Lock()
	delete(w.pods, string(object.UID))
	w.mu.Unlock()
	w.notify()
}

func (w *Watch) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// strip drops what nobody here reads before the informer stores it.
func strip(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion},
		Spec:       corev1.PodSpec{HostNetwork: p.Spec.HostNetwork, NodeName: p.Spec.NodeName},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, PodIPs: p.Status.PodIPs},
	}
	for _, key := range []string{workload.EgressBandwidth, workload.IngressBandwidth} {
		if text, ok := p.Annotations[key]; ok {
			if slim.Annotations == nil {
				slim.Annotations = map[string]string{}
			}
			slim.Annotations[key] = text
		}
	}
	return slim, nil
}
