package inventory

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Marks are what a node carries of workload.TaintCongested,
// workload.BestEffortBandwidth and of what is said of its uplink.
type Marks struct {
	Congested  bool
	Advertised string         // the extended resource's quantity, "" for none
	Stated     bitrate.Rate   // of it, by people, in the annotation; 0: not at all
	Rate       bitrate.Rate   // of the uplink, by people; 0: not at all
	Found      workload.Found // by a leader, this or one before
}

// marksOf reads a node; what can't be read counts as not said, and is a problem.
func marksOf(node *corev1.Node) (m Marks, problems []string) {
	m = Marks{Congested: len(congested(node.Spec.Taints)) > 0}
	if q, ok := node.Status.Capacity[workload.BestEffortBandwidth]; ok {
		m.Advertised = q.String()
	}
	report := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Sprintf("annotation %s: %v", key, err))
		}
	}
	rate := func(key string) bitrate.Rate {
		text, said := node.Annotations[key]
		if !said {
			return 0
		}
		r, err := bitrate.Parse(text)
		report(key, err)
		return r
	}
	m.Stated, m.Rate = rate(workload.BestEffortBandwidth), rate(workload.AnnotationUplinkRate)
	var err error
	m.Found, err = workload.ParseFound(node.Annotations[workload.AnnotationUplinkFound])
	report(workload.AnnotationUplinkFound, err)
	return m, problems
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
