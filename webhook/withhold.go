package webhook

import (
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// withhold takes from the labels and annotations that stand for d all that
// bears on traffic or is read by others, and says in their place what it was.
func withhold(d policies.Decision, labels, annotations map[string]string) {
	if d.Class == "" {
		return
	}
	w := workload.Withheld{PriorityClassName: d.PriorityClassName, Affinity: d.Affinity != nil, Deny: d.Deny}
	w.Labels = move(labels, workload.LabelClass)
	keep := []string{workload.LabelClass}
	for _, key := range workload.Managed {
		switch key.Name {
		case workload.AnnotationInitialBandwidth, workload.AnnotationEgressBandwidth, workload.AnnotationIngressBandwidth, workload.AnnotationCiliumPriority:
		default:
			keep = append(keep, key.Name)
		}
	}
	w.Annotations = move(annotations, keep...)
	for _, p := range d.NetworkPolicies {
		w.NetworkPolicies = append(w.NetworkPolicies, p.Name)
	}
	annotations[workload.AnnotationWould] = w.String()
}

// move takes from a map all but the kept keys and returns it; nil if that is
// nothing.
func move(from map[string]string, kept ...string) map[string]string {
	rest := map[string]string{}
	for _, key := range kept {
		if value, ok := from[key]; ok {
			rest[key] = value
		}
	}
	if len(rest) == len(from) {
		return nil
	}
	moved := map[string]string{}
	for key, value := range from {
		if _, ok := rest[key]; !ok {
			moved[key] = value
			delete(from, key)
		}
	}
	return moved
}
