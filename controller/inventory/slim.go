package inventory

import (
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
)

// slim drops what detnet never reads before an object is kept: of a pod little
// more than its name, place and stamps, of a node its zone and marks.
func slim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return slimPod(o), nil
	case *corev1.Node:
		return slimNode(o), nil
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: withLabels(&o.ObjectMeta)}, nil
	}
	return object, nil // a tombstone
}

func slimPod(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: withLabels(&pod.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: shared(pod.Spec.NodeName), HostNetwork: pod.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: corev1.PodPhase(shared(string(pod.Status.Phase))), PodIP: pod.Status.PodIP},
	}
	if _, second := addresses(pod); second != "" {
		out.Status.PodIPs = pod.Status.PodIPs
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		out.OwnerReferences = []metav1.OwnerReference{{Kind: shared(owner.Kind), Name: shared(owner.Name), Controller: owner.Controller}}
	}
	for _, c := range pod.Spec.Containers {
		if len(c.Ports) > 0 && out.Labels[labelName] == "detnet" {
			out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Ports: c.Ports})
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionStatus(shared(string(c.Status)))}}
		}
	}
	return out
}

func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: shared(m.Namespace), UID: m.UID, ResourceVersion: m.ResourceVersion,
		DeletionTimestamp: m.DeletionTimestamp,
		Labels:            ours(m.Labels),
		Annotations:       ours(m.Annotations),
	}
}

// withLabels keeps all labels too: the webhook's selectors may speak of any.
func withLabels(m *metav1.ObjectMeta) metav1.ObjectMeta {
	out := slimMeta(m)
	if m.Labels != nil {
		out.Labels = make(map[string]string, len(m.Labels))
	}
	for key, value := range m.Labels {
		out.Labels[shared(key)] = shared(value)
	}
	return out
}

// shared is a string of which there is one copy, however many objects say it: each comes
// from the API server with copies of its own.
func shared(s string) string { return unique.Make(s).Value() }

// ours keeps the keys that some part of the inventory reads.
func ours(all map[string]string) map[string]string {
	var kept map[string]string
	for key, value := range all {
		domain, _, _ := strings.Cut(key, "/")
		switch domain {
		case "detnet.dev", "kubernetes.io", "app.kubernetes.io", "topology.kubernetes.io", "bandwidth.cilium.io": // among them all that a signature covers
			if kept == nil {
				kept = map[string]string{}
			}
			if key != workload.AnnotationSignature && key != workload.AnnotationLimitDecision { // which no two pods have alike
				value = shared(value)
			}
			kept[shared(key)] = value
		}
	}
	return kept
}
