// Package inventory knows who runs where: critical pods and what they ask for,
// throttleable pods and their limits in force, agents and how to reach them. It
// follows the API server's events; a Snapshot is made when something that
// matters has changed, not when somebody looks.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

// Inventory follows pods, namespaces and nodes.
type Inventory struct {
	client    kubernetes.Interface
	namespace string
	synced    chan struct{}
	retarget  chan struct{} // the static targets are others now

	mu        sync.Mutex
	mode      workload.ControlMode
	pods      map[string]parsed
	modes     map[string]workload.ControlMode // of the namespaces that state one
	badModes  map[string]string
	targets   targets.Targets // as last set
	static    *static         // as last known with their pods
	unstamped map[string]Problem
	agents    map[string]Agent
	zones     map[string]string
	marks     map[string]Marks
	snapshot  *Snapshot // nil when something changed since
}

// New returns an Inventory that knows nothing until it runs. Agents are pods
// of namespace; mode is the cluster's, which a namespace may only tighten.
func New(client kubernetes.Interface, namespace string, mode workload.ControlMode) *Inventory {
	return &Inventory{
		client: client, namespace: namespace, mode: mode,
		synced:    make(chan struct{}),
		retarget:  make(chan struct{}, 1),
		pods:      map[string]parsed{},
		static:    newStatic(targets.Targets{}),
		unstamped: map[string]Problem{},
		modes:     map[string]workload.ControlMode{},
		badModes:  map[string]string{},
		agents:    map[string]Agent{},
		zones:     map[string]string{},
		marks:     map[string]Marks{},
	}
}

// NeedLeaderElection is false: a standby keeps its inventory warm.
func (*Inventory) NeedLeaderElection() bool { return false }

// Synced is closed once the first full lists are in.
func (inv *Inventory) Synced() <-chan struct{} { return inv.synced }

// SetMode changes the cluster's mode.
func (inv *Inventory) SetMode(mode workload.ControlMode) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.mode != mode {
		inv.mode = mode
		inv.touch()
	}
}

// Start follows the API server until ctx ends.
func (inv *Inventory) Start(ctx context.Context) error {
	cluster := informers.NewSharedInformerFactoryWithOptions(inv.client, 0, informers.WithTransform(slim))
	all := []source{
		{cluster, cluster.Core().V1().Namespaces().Informer(), inv.setNamespace},
		{cluster, cluster.Core().V1().Nodes().Informer(), inv.setNode},
		inv.podSource("", workload.LabelClass, inv.setPod),
		inv.podSource(inv.namespace, labelName+"=detnet", inv.setAgent),
	}
	stop, err := follow(ctx, append(all, inv.unstampedPods()...)...)
	if err != nil {
		return err
	}
	defer stop()
	return inv.followStatic(ctx, func() { close(inv.synced) })
}

// source is an informer and what takes in its objects.
type source struct {
	factory  informers.SharedInformerFactory
	informer cache.SharedIndexInformer
	set      func(key string, object any)
}

// follow runs the sources and returns when their first lists are in; stop ends
// them. That ctx ends meanwhile is no error.
func follow(ctx context.Context, all ...source) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		cancel()
		for _, s := range all {
			s.factory.Shutdown()
		}
	}
	var synced []cache.InformerSynced
	for _, s := range all {
		registration, err := s.informer.AddEventHandler(handler(s.set))
		if err != nil {
			stop()
			return nil, fmt.Errorf("follow the API server: %w", err)
		}
		synced = append(synced, registration.HasSynced)
		s.factory.Start(ctx.Done())
	}
	cache.WaitForCacheSync(ctx.Done(), synced...)
	return stop, nil
}

func (inv *Inventory) podSource(namespace, selector string, set func(string, any)) source {
	factory := informers.NewSharedInformerFactoryWithOptions(inv.client, 0,
		informers.WithTransform(slim), informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
	return source{factory, factory.Core().V1().Pods().Informer(), set}
}

// handler calls set with each object's key and state; nil is a deleted one.
func handler(set func(key string, object any)) cache.ResourceEventHandler {
	put := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			set(key, object)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				set(key, nil)
			}
		},
	}
}

func (inv *Inventory) setPod(key string, object any) {
	var p parsed
	if pod, ok := object.(*corev1.Pod); ok {
		p = parse(pod)
	}
	keep(inv, inv.pods, key, p)
}

func (inv *Inventory) setAgent(key string, object any) {
	var a Agent
	if pod, ok := object.(*corev1.Pod); ok {
		a, _ = parseAgent(pod)
	}
	keep(inv, inv.agents, key, a)
}

func (inv *Inventory) setNamespace(key string, object any) {
	var mode workload.ControlMode
	var problem string
	if ns, ok := object.(*corev1.Namespace); ok {
		if text := cmp.Or(ns.Annotations[workload.Mode], ns.Labels[workload.Mode]); text != "" {
			var err error
			if mode, err = workload.ParseControlMode(text); err != nil {
				problem = fmt.Sprintf("%s: %v", workload.Mode, err)
			}
		}
	}
	keep(inv, inv.modes, key, mode)
	keep(inv, inv.badModes, key, problem)
}

// keep stores value under key, or forgets a zero one; only a real change makes
// the snapshot stale, so that heartbeats cost nothing.
func keep[T any](inv *Inventory, m map[string]T, key string, value T) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if reflect.DeepEqual(m[key], value) {
		return
	}
	if reflect.ValueOf(&value).Elem().IsZero() {
		delete(m, key)
	} else {
		m[key] = value
	}
	inv.touch()
}

// touch is called with mu held.
func (inv *Inventory) touch() { inv.snapshot = nil }
