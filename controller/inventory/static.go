package inventory

import (
	"cmp"
	"maps"
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

// static is what the inventory knows without the API server.
type static struct {
	apps        []targets.App
	deployments map[Workload]targets.Deployment
	min, max    bitrate.Rate
}

// AddStatic adds targets that no label names. Call it before Start.
func (inv *Inventory) AddStatic(t targets.Targets) {
	inv.static = static{apps: t.Apps, deployments: map[Workload]targets.Deployment{}}
	inv.static.min, inv.static.max = t.Control.Bounds()
	for _, d := range t.Deployments {
		inv.static.deployments[Workload{"Deployment", d.Namespace, d.Name}] = d
	}
}

// staticApps are the endpoints to measure: an App without a node.
func (inv *Inventory) staticApps() []App {
	var apps []App
	if inv.mode == workload.Off {
		return nil
	}
	for _, t := range inv.static.apps {
		app := App{IP: t.Host, Probe: t.Probe, Mode: inv.mode}
		app.Pod = plan.PodID{Namespace: StaticNamespace, Name: t.Name}
		app.SLO, app.Rank, app.Protocol = t.SLO, t.Rank, t.Probe.Protocol
		apps = append(apps, app)
	}
	return apps
}

// staticFactories follow the pods of the namespaces that static Deployments are
// in.
func (inv *Inventory) staticFactories() []podFactory {
	namespaces := map[string]bool{}
	for w := range inv.static.deployments {
		namespaces[w.Namespace] = true
	}
	var factories []podFactory
	for _, ns := range slices.Sorted(maps.Keys(namespaces)) {
		factories = append(factories, inv.podFactory(ns, "!"+workload.LabelClass, inv.setUnlabelled))
	}
	return factories
}

func (inv *Inventory) setUnlabelled(key string, object any) {
	var p parsed
	if pod, ok := object.(*corev1.Pod); ok {
		p = inv.static.parse(pod)
	}
	keep(inv, inv.unlabelled, key, p)
}

// parse reads a pod that nobody stamped: what its annotations don't say, the
// static target does.
func (s static) parse(pod *corev1.Pod) parsed {
	d, ok := s.deployments[workloadOf(pod)]
	if !ok || pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return parsed{}
	}
	stamped := pod.DeepCopy()
	if stamped.Annotations == nil {
		stamped.Annotations = map[string]string{}
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
	return parseSender(stamped)
}
