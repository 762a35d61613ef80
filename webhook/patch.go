package webhook

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Warning is something about a stamp that the client should know. Reason is
// the metric's label.
type Warning struct{ Reason, Message string }

// Priorities is what the cluster says about the class a decision names.
type Priorities struct {
	Wanted  *schedulingv1.PriorityClass // nil: the cluster has no such class
	Default string                      // name of the globalDefault class, "" if there is none
}

// Patch returns the operations (RFC 6902) that turn pod into what d says, in a
// fixed order, and what could not be done. Applied to a pod that already is so
// it returns none. It holds, whatever the policy says, that a protected pod has
// no limit and that a pod on the host network or on Windows has no bandwidth
// annotation.
func Patch(pod *corev1.Pod, d policies.Decision, p Priorities) ([]jsonpatch.Operation, []Warning) {
	var s stamp
	if d.Class == "" {
		// Nobody but detnet may say that a pod belongs to a class.
		s.members("/metadata/labels", pod.Labels, nil, []string{workload.LabelClass})
		s.members("/metadata/annotations", pod.Annotations, nil, []string{workload.Decision, workload.Rank, workload.InitialBandwidth})
		return s.ops, nil
	}
	s.bandwidthApplies(pod, &d)
	labels, annotations := stamped(d)
	s.members("/metadata/labels", pod.Labels, labels, nil)
	s.members("/metadata/annotations", pod.Annotations, annotations, s.unwanted(pod, d))
	s.priority(pod, d, p)
	s.affinity(pod, d)
	return s.ops, s.warnings
}

// stamp collects the operations.
type stamp struct {
	ops      []jsonpatch.Operation
	warnings []Warning
}

func (s *stamp) add(path string, value any) {
	s.ops = append(s.ops, jsonpatch.NewOperation("add", path, value))
}

func (s *stamp) warn(reason, format string, args ...any) {
	s.warnings = append(s.warnings, Warning{reason, fmt.Sprintf(format, args...)})
}

// bandwidthApplies drops the bandwidth of pods on which nothing enforces it.
func (s *stamp) bandwidthApplies(pod *corev1.Pod, d *policies.Decision) {
	var where string
	switch {
	case pod.Spec.HostNetwork:
		where = "on the host network"
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows || pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows):
		where = "on Windows"
	default:
		return
	}
	if d.Bandwidth != (policies.Bandwidth{}) {
		s.warn("bandwidth-not-applicable", "bandwidth limits and priorities do not apply to pods %s; none is set", where)
		d.Bandwidth = policies.Bandwidth{}
	}
}

// unwanted lists the annotations that contradict the decision.
func (s *stamp) unwanted(pod *corev1.Pod, d policies.Decision) []string {
	var keys []string
	if d.Bandwidth.Initial == 0 {
		keys = append(keys, workload.InitialBandwidth)
	}
	if !d.Protected {
		return keys
	}
	for _, key := range []string{workload.EgressBandwidth, workload.IngressBandwidth} {
		if _, ok := pod.Annotations[key]; ok {
			s.warn("limit-on-protected", "annotation %s is removed: a limiter would delay the packets of class %s", key, d.Class)
			keys = append(keys, key)
		}
	}
	return keys
}

// members sets want in the string map at path and removes the unwanted keys.
func (s *stamp) members(path string, have, want map[string]string, unwanted []string) {
	if len(have) == 0 && len(want) > 0 {
		s.add(path, want)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, ok := have[key]; !ok || value != want[key] {
			s.add(path+"/"+pointer(key), want[key])
		}
	}
	for _, key := range unwanted {
		if _, ok := have[key]; ok {
			s.ops = append(s.ops, jsonpatch.NewOperation("remove", path+"/"+pointer(key), nil))
		}
	}
}

// pointer escapes a key for a JSON pointer (RFC 6901 §3).
func pointer(key string) string { return pointerEscapes.Replace(key) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// priority stamps the class where the pod has none of its own. The API
// server's Priority plugin ran before this webhook, with the globalDefault
// class where there is one, runs again after it, and refuses a pod whose three
// fields disagree.
func (s *stamp) priority(pod *corev1.Pod, d policies.Decision, p Priorities) {
	have := pod.Spec.PriorityClassName
	switch {
	case d.PriorityClassName == "":
		return
	case p.Wanted == nil:
		s.warn("no-priority-class", "PriorityClass %s does not exist; the pod keeps its priority", d.PriorityClassName)
		return
	case have != "" && have != p.Default && have != d.PriorityClassName:
		s.warn("own-priority-class", "the pod keeps its priorityClassName %s instead of %s", have, d.PriorityClassName)
		return
	}
	if have != d.PriorityClassName {
		s.add("/spec/priorityClassName", d.PriorityClassName)
	}
	if pod.Spec.Priority == nil || *pod.Spec.Priority != p.Wanted.Value {
		s.add("/spec/priority", p.Wanted.Value)
	}
	preemption := corev1.PreemptLowerPriority
	if p.Wanted.PreemptionPolicy != nil {
		preemption = *p.Wanted.PreemptionPolicy
	}
	if pod.Spec.PreemptionPolicy == nil || *pod.Spec.PreemptionPolicy != preemption {
		s.add("/spec/preemptionPolicy", preemption)
	}
}

// affinity adds the decision's preferred terms to the pod's own.
func (s *stamp) affinity(pod *corev1.Pod, d policies.Decision) {
	if d.Affinity == nil {
		return
	}
	want := &corev1.Affinity{}
	if pod.Spec.Affinity != nil {
		want = pod.Spec.Affinity.DeepCopy()
	}
	if node := d.Affinity.NodeAffinity; node != nil {
		if want.NodeAffinity == nil {
			want.NodeAffinity = &corev1.NodeAffinity{}
		}
		to := &want.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		*to = union(*to, node.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if near := d.Affinity.PodAffinity; near != nil {
		if want.PodAffinity == nil {
			want.PodAffinity = &corev1.PodAffinity{}
		}
		to := &want.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		*to = union(*to, near.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if apart := d.Affinity.PodAntiAffinity; apart != nil {
		if want.PodAntiAffinity == nil {
			want.PodAntiAffinity = &corev1.PodAntiAffinity{}
		}
		to := &want.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		*to = union(*to, apart.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if pod.Spec.Affinity == nil && *want == (corev1.Affinity{}) || reflect.DeepEqual(want, pod.Spec.Affinity) {
		return
	}
	s.add("/spec/affinity", want)
}

// union appends the terms of more that have lacks.
func union[T any](have, more []T) []T {
	for _, term := range more {
		if !slices.ContainsFunc(have, func(h T) bool { return reflect.DeepEqual(h, term) }) {
			have = append(have, term)
		}
	}
	return have
}

// stamped returns the labels and annotations that stand for d.
func stamped(d policies.Decision) (labels, annotations map[string]string) {
	labels = map[string]string{workload.LabelClass: d.Class}
	maps.Copy(labels, d.Labels)
	annotations = map[string]string{}
	maps.Copy(annotations, d.Annotations)
	b := d.Bandwidth
	for key, value := range map[string]fmt.Stringer{
		workload.InitialBandwidth: b.Initial, workload.EgressBandwidth: b.Egress, workload.IngressBandwidth: b.Ingress,
		workload.MinBandwidth: b.Min, workload.MaxBandwidth: b.Max,
	} {
		if text := value.String(); text != "0" {
			annotations[key] = text
		}
	}
	if b.Weight != 0 {
		annotations[workload.Weight] = strconv.Itoa(b.Weight)
	}
	for key, text := range map[string]string{
		workload.MaxJitter: d.SLO.MaxJitter, workload.MaxLatency: d.SLO.MaxLatency, workload.MaxLoss: d.SLO.MaxLoss,
		workload.ProbeWith: d.Probe, workload.PromQL: d.Query, workload.ProbeDSCP: d.DSCP, workload.CiliumPriority: b.Priority,
		workload.Decision: d.ID(), workload.Rank: strconv.Itoa(d.Rank),
	} {
		if text != "" {
			annotations[key] = text
		}
	}
	return labels, annotations
}
