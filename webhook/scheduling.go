package webhook

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/detnet/detnet/policies"
)

// Priorities is what the cluster says about the class a decision names.
type Priorities struct {
	Wanted  *schedulingv1.PriorityClass // nil: the cluster has no such class
	Default string                      // name of the globalDefault class, "" if there is none
}

// ownPriorityClass begins the names of detnet's PriorityClasses: they are given
// by decisions alone.
const ownPriorityClass = "detnet-"

func isOurs(priorityClass string) bool { return strings.HasPrefix(priorityClass, ownPriorityClass) }

// priority stamps the class where the pod has none of its own. The API
// server's Priority plugin ran before this webhook, with the globalDefault
// class where there is one, runs again after it, and refuses a pod whose three
// fields disagree.
func (s *stamp) priority(pod *corev1.Pod, d policies.Decision, p Priorities) {
	have := pod.Spec.PriorityClassName
	switch {
	case d.PriorityClassName == "":
		if isOurs(have) {
			s.withoutPriority(pod, d.Class)
		}
		return
	case p.Wanted == nil:
		s.warn("no-priority-class", "PriorityClass %s does not exist; the pod keeps its priority", d.PriorityClassName)
		if isOurs(have) && have != d.PriorityClassName {
			s.withoutPriority(pod, d.Class)
		}
		return
	case have != "" && have != p.Default && have != d.PriorityClassName && !isOurs(have):
		s.warn("own-priority-class", "the pod keeps its priorityClassName %s instead of %s", have, d.PriorityClassName)
		return
	case have != d.PriorityClassName && have != p.Default && isOurs(have):
		s.warn("claimed-priority-class", "priorityClassName %s is given by detnet alone: the pod gets %s, that of class %s", have, d.PriorityClassName, d.Class)
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

// withoutPriority takes detnet's PriorityClass from a pod that no decision gave
// it. The Priority plugin, which runs again, fills in the default.
func (s *stamp) withoutPriority(pod *corev1.Pod, class string) {
	why := "no class was given to the pod"
	if class != "" {
		why = "class " + class + " has none"
	}
	s.warn("claimed-priority-class", "priorityClassName %s is removed: it is given by detnet alone, and %s", pod.Spec.PriorityClassName, why)
	s.remove("/spec/priorityClassName")
	if pod.Spec.Priority != nil {
		s.remove("/spec/priority")
	}
	if pod.Spec.PreemptionPolicy != nil {
		s.remove("/spec/preemptionPolicy")
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
