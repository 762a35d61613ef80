package inventory

import (
	"cmp"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

// StaticNamespace stands in the PodID of an App that is no pod but an endpoint
// of a static target. No namespace can be called so.
const StaticNamespace = "(static)"

// static is what the administrator says of workloads that no label names.
type static struct {
	apps        []targets.App
	deployments map[Workload]targets.Deployment
	min, max    bitrate.Rate
}

func newStatic(t targets.Targets) *static {
	s := &static{apps: t.Apps, deployments: map[Workload]targets.Deployment{}}
	s.min, s.max = t.Control.Bounds()
	for _, d := range t.Deployments {
		s.deployments[Workload{"Deployment", d.Namespace, d.Name}] = d
	}
	return s
}

// SetStatic replaces the targets that no label names.
func (inv *Inventory) SetStatic(t targets.Targets) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	for _, a := range inv.static.apps {
		inv.put(StaticNamespace+"/"+a.Name, nil, false)
	}
	inv.static = newStatic(t)
	inv.again(func(string) bool { return true })
	inv.endpoints()
}

// endpoints are the static targets to measure: each an App without a node. It is
// called with mu held.
func (inv *Inventory) endpoints() {
	for _, t := range inv.static.apps {
		r := &record{}
		if inv.mode != workload.Off {
			r.app = &App{IP: t.Host, Probe: t.Probe, Mode: inv.mode}
			r.app.Pod = plan.PodID{Namespace: StaticNamespace, Name: t.Name}
			r.app.SLO, r.app.Rank, r.app.Protocol = t.SLO, t.Rank, t.Probe.Protocol
		}
		inv.put(StaticNamespace+"/"+t.Name, r, true)
	}
}

// parse reads a pod whose stamps count for nothing. Bounds, rank and weight are
// the administrator's; the pod carries no more than the limit in force and the
// one that it had before.
func (s *static) parse(pod *slimPod) meaning {
	d, ok := s.deployments[workloadOf(pod)]
	if !ok {
		return meaning{}
	}
	initial, before := cmp.Or(d.Initial, s.max), ""
	switch text := pod.Annotations[workload.AnnotationInitialBandwidth]; text {
	case "":
		before = cmp.Or(pod.Annotations[workload.AnnotationEgressBandwidth], workload.NoLimit)
	case workload.NoLimit:
	default:
		if r, err := bitrate.ParseLimit(text); err == nil {
			initial = r
		}
	}
	stamped := *pod
	stamped.Annotations = map[string]string{
		workload.AnnotationInitialBandwidth: min(max(initial, s.min), s.max).String(),
		workload.AnnotationMinBandwidth:     s.min.String(),
		workload.AnnotationMaxBandwidth:     s.max.String(),
	}
	for _, key := range []string{workload.AnnotationEgressBandwidth, workload.AnnotationLimitDecision} {
		if text, ok := pod.Annotations[key]; ok {
			stamped.Annotations[key] = text
		}
	}
	m := parseSender(&stamped)
	if m.sender != nil {
		m.sender.Static, m.sender.Before, m.sender.Restore = true, before, pod.Annotations[workload.AnnotationInitialBandwidth]
	}
	return m
}
