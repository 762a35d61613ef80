package inventory

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Marks are what a node carries of workload.TaintCongested and
// workload.BestEffortBandwidth.
type Marks struct {
	Congested  bool
	Advertised string       // the extended resource's quantity, "" for none
	Stated     bitrate.Rate // by people, in the annotation; 0: not at all
}

// marksOf reads a node; a statement that can't be read counts as none.
func marksOf(node *corev1.Node) Marks {
	m := Marks{Congested: len(congested(node.Spec.Taints)) > 0}
	if q, ok := node.Status.Capacity[workload.BestEffortBandwidth]; ok {
		m.Advertised = q.String()
	}
	if r, err := bitrate.Parse(node.Annotations[workload.BestEffortBandwidth]); err == nil {
		m.Stated = r
	}
	return m
}

func congested(taints []corev1.Taint) []corev1.Taint {
	for _, t := range taints {
		if t.Key == workload.TaintCongested {
			return []corev1.Taint{t}
		}
	}
	return nil
}

// slimNode keeps a node's zone and what marksOf reads.
func slimNode(node *corev1.Node) *corev1.Node {
	out := &corev1.Node{ObjectMeta: slimMeta(&node.ObjectMeta)}
	out.Spec.Taints = congested(node.Spec.Taints)
	if q, ok := node.Status.Capacity[workload.BestEffortBandwidth]; ok {
		out.Status.Capacity = corev1.ResourceList{workload.BestEffortBandwidth: q}
	}
	return out
}
