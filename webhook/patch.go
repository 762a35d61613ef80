package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Warning is something about a stamp that the client should know. Reason is
// the metric's label.
type Warning struct{ Reason, Message string }

// Setting is what a patch depends on besides pod and decision.
type Setting struct {
	Priorities Priorities
	// Mode says how much of the decision takes effect; "" is Enforce.
	Mode workload.ControlMode
	// Sign returns the signature of the stamps that the pod ends with, "" where
	// there is no key. Nil signs nothing.
	Sign func(labels, annotations map[string]string) string
}

// Patch returns the operations (RFC 6902) that turn pod into what d says, in a
// fixed order, and what could not be done. Applied to a pod that already is so
// it returns none. What d does not give it takes away. It holds, whatever the
// policy says, that a protected pod has no limit, that a pod on the host network
// or on Windows has no bandwidth annotation, and that no traffic and no
// scheduling changes where the mode is not Enforce.
func Patch(pod *corev1.Pod, d policies.Decision, set Setting) ([]jsonpatch.Operation, []Warning) {
	var s stamp
	if set.Mode == workload.Off {
		d = policies.Decision{}
	}
	enforced := set.Mode == "" || set.Mode == workload.Enforce
	s.bandwidthApplies(pod, &d)
	labels, annotations := stamped(d)
	if set.Mode == workload.Observe {
		withhold(d, labels, annotations)
	}
	unwantedLabels, unwanted := s.unwanted(pod, d, annotations, set.Mode)
	if set.Sign != nil && d.Class != "" {
		if text := set.Sign(after(pod.Labels, labels, unwantedLabels), after(pod.Annotations, annotations, unwanted)); text != "" {
			annotations[workload.AnnotationSignature] = text
			unwanted = slices.DeleteFunc(unwanted, func(key string) bool { return key == workload.AnnotationSignature })
		}
	}
	s.members("/metadata/labels", pod.Labels, labels, unwantedLabels)
	s.members("/metadata/annotations", pod.Annotations, annotations, unwanted)
	if enforced && d.Class != "" {
		s.priority(pod, d, set.Priorities)
		s.affinity(pod, d)
	} else if isOurs(pod.Spec.PriorityClassName) && pod.Spec.PriorityClassName != d.PriorityClassName {
		s.withoutPriority(pod, "")
	}
	return s.ops, s.warnings
}

// strip returns the operations that take from a pod for which nothing could be
// decided what only a decision gives: stamps, Cilium's priority and detnet's
// PriorityClasses. What people ask for stays, for whoever mends the pod.
func strip(pod *corev1.Pod) []jsonpatch.Operation {
	var s stamp
	var labels, annotations []string
	for _, key := range workload.Managed {
		switch {
		case !key.Stamp && key.Name != workload.AnnotationCiliumPriority:
		case key.Label:
			labels = append(labels, key.Name)
		default:
			annotations = append(annotations, key.Name)
		}
	}
	s.members("/metadata/labels", pod.Labels, nil, labels)
	s.members("/metadata/annotations", pod.Annotations, nil, annotations)
	if isOurs(pod.Spec.PriorityClassName) {
		s.withoutPriority(pod, "")
	}
	return s.ops
}

// stamp collects the operations.
type stamp struct {
	ops      []jsonpatch.Operation
	warnings []Warning
}

func (s *stamp) add(path string, value any) {
	s.ops = append(s.ops, jsonpatch.NewOperation("add", path, value))
}

func (s *stamp) remove(path string) {
	s.ops = append(s.ops, jsonpatch.NewOperation("remove", path, nil))
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

// unwanted lists the managed keys that the pod has and want does not give.
func (s *stamp) unwanted(pod *corev1.Pod, d policies.Decision, want map[string]string, mode workload.ControlMode) (labels, annotations []string) {
	var asked []string
	for _, key := range workload.Managed {
		if key.Label {
			if d.Class == "" {
				labels = append(labels, key.Name)
			}
			continue
		}
		have, has := pod.Annotations[key.Name]
		value, given := want[key.Name]
		if given && has && value != have && (key.Name == workload.AnnotationProbeFrom || key.Name == workload.AnnotationReflector) {
			s.warn("not-granted", "annotation %s is %s: a namespace or the policy says so, and not the pod", key.Name, value)
		}
		if !has || given || !taken(key, d, mode) {
			continue
		}
		annotations = append(annotations, key.Name)
		switch {
		case key.Shared:
			s.warn("limit-on-protected", "annotation %s is removed: a limiter would delay the packets of class %s", key.Name, d.Class)
		case !key.Stamp:
			asked = append(asked, key.Name)
		}
	}
	if len(asked) > 0 {
		class := "a pod without a class"
		if d.Class != "" {
			class = "class " + d.Class
		}
		s.warn("not-granted", "removed, since %s is not given them: %s", class, strings.Join(asked, ", "))
	}
	return labels, annotations
}

// taken reports whether a key that the decision does not give is taken away.
// Where detnet does not enforce, what bears on traffic stays as it is.
func taken(key workload.Key, d policies.Decision, mode workload.ControlMode) bool {
	switch {
	case mode == workload.Off:
		return key.Stamp
	case key.Shared:
		return d.Protected && mode != workload.Observe
	case key.Name == workload.AnnotationCiliumPriority:
		return mode != workload.Observe
	}
	return true
}

// after is a map of metadata as the patch leaves it.
func after(have, want map[string]string, unwanted []string) map[string]string {
	out := make(map[string]string, len(have)+len(want))
	maps.Copy(out, have)
	for _, key := range unwanted {
		delete(out, key)
	}
	maps.Copy(out, want)
	return out
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
			s.remove(path + "/" + pointer(key))
		}
	}
}

// pointer escapes a key for a JSON pointer (RFC 6901 §3).
func pointer(key string) string { return pointerEscapes.Replace(key) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// stamped returns the labels and annotations that stand for d.
func stamped(d policies.Decision) (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	if d.Class == "" {
		return labels, annotations
	}
	labels[workload.LabelClass] = d.Class
	maps.Copy(labels, d.Labels)
	maps.Copy(annotations, d.Annotations)
	maps.Copy(annotations, d.Stamps())
	annotations[workload.AnnotationDecision], annotations[workload.AnnotationRank] = d.ID(), strconv.Itoa(d.Rank)
	return labels, annotations
}
