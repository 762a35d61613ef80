package inventory

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

// StaticNamespace stands in the PodID of an App that is no pod but an endpoint
// of a static target. No namespace can be called so.
const StaticNamespace = "(static)"

// static is what the inventory knows of targets that no label names.
type static struct {
	apps        []targets.App
	deployments map[Workload]targets.Deployment
	min, max    bitrate.Rate
	pods        map[string]parsed // of the deployments
}

// SetStatic replaces the targets that no label names. Before Start they are
// there from the first snapshot on; later they are once their pods are known,
// and until then the former ones are.
func (inv *Inventory) SetStatic(t targets.Targets) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if reflect.DeepEqual(t, inv.targets) {
		return
	}
	inv.targets = t
	select {
	case inv.retarget <- struct{}{}:
	default: // it is looked at anyway
	}
}

func newStatic(t targets.Targets) *static {
	s := &static{apps: t.Apps, deployments: map[Workload]targets.Deployment{}, pods: map[string]parsed{}}
	s.min, s.max = t.Control.Bounds()
	for _, d := range t.Deployments {
		s.deployments[Workload{"Deployment", d.Namespace, d.Name}] = d
	}
	return s
}

// followStatic keeps to the newest targets until ctx ends. It calls ready when
// the first are in.
func (inv *Inventory) followStatic(ctx context.Context, ready func()) error {
	stop := func() {}
	defer func() { stop() }()
	for {
		inv.mu.Lock()
		select {
		case <-inv.retarget: // these are the newest
		default:
		}
		next := newStatic(inv.targets)
		inv.mu.Unlock()
		stopNext, err := follow(ctx, inv.staticPods(next)...)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			stopNext()
			return nil // perhaps before the API server answered
		}
		inv.mu.Lock()
		inv.static = next
		inv.touch()
		inv.mu.Unlock()
		stop()
		stop = stopNext
		ready()
		ready = func() {}
		select {
		case <-ctx.Done():
			return nil
		case <-inv.retarget:
		}
	}
}

// staticApps are the endpoints to measure: an App without a node.
func (inv *Inventory) staticApps() []*App {
	var apps []*App
	if inv.mode == workload.Off {
		return nil
	}
	for _, t := range inv.static.apps {
		app := &App{IP: t.Host, Probe: t.Probe, Mode: inv.mode}
		app.Pod = plan.PodID{Namespace: StaticNamespace, Name: t.Name}
		app.SLO, app.Rank, app.Protocol = t.SLO, t.Rank, t.Probe.Protocol
		apps = append(apps, app)
	}
	return apps
}

// staticPods follow the pods of the namespaces that static Deployments are in.
func (inv *Inventory) staticPods(of *static) []source {
	namespaces := map[string]bool{}
	for w := range of.deployments {
		namespaces[w.Namespace] = true
	}
	var all []source
	for _, ns := range slices.Sorted(maps.Keys(namespaces)) {
		all = append(all, inv.podSource(ns, "!"+workload.LabelClass, func(key string, object any) {
			inv.setStatic(of, key, object)
		}))
	}
	return all
}

func (inv *Inventory) setStatic(of *static, key string, object any) {
	var p parsed
	if pod, ok := object.(*corev1.Pod); ok {
		p = of.parse(pod)
	}
	keep(inv, of.pods, key, p)
}

// parse reads a pod that nobody stamped: what its annotations don't say, the
// static target does.
func (s *static) parse(pod *corev1.Pod) parsed {
	d, ok := s.deployments[workloadOf(pod)]
	if !ok || pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return parsed{}
	}
	stamped := pod.DeepCopy()
	if stamped.Annotations == nil {
		stamped.Annotations = map[string]string{}
	}
	before := ""
	switch pod.Annotations[workload.InitialBandwidth] {
	case "":
		before = cmp.Or(pod.Annotations[workload.EgressBandwidth], workload.NoLimit)
	case workload.NoLimit:
		delete(stamped.Annotations, workload.InitialBandwidth)
	}
	for key, value := range map[string]bitrate.Rate{
		workload.InitialBandwidth: min(max(cmp.Or(d.Initial, s.max), s.min), s.max),
		workload.MinBandwidth:     s.min,
		workload.MaxBandwidth:     s.max,
	} {
		if stamped.Annotations[key] == "" {
			stamped.Annotations[key] = value.String()
		}
	}
	p := parseSender(stamped)
	if p.sender != nil {
		p.sender.Before = before
	}
	return p
}
