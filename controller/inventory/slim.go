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
		return slimPodOf(o), nil
	case *corev1.Node:
		return slimNode(o), nil
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: withLabels(&o.ObjectMeta)}, nil
	}
	return object, nil // a tombstone, or it is slim
}

// slimPod is what is kept of a pod. A corev1.Pod takes several times the room, however little is
// in it.
type slimPod struct {
	metav1.ObjectMeta
	owner       owner
	node        string
	hostNetwork bool
	ready       readiness
	phase       corev1.PodPhase
	// ip is the primary address, ip2 the second one, "" for none: a pod has at most one of each
	// family.
	ip, ip2 string
	ports   []corev1.ContainerPort // of detnet's own alone
}

// owner is the controller of a pod; zero: it has none.
type owner struct{ kind, name string }

// readiness is what a pod says of it.
type readiness uint8

const (
	unsaid readiness = iota
	ready
	unready
)

func slimPodOf(pod *corev1.Pod) *slimPod {
	out := &slimPod{
		ObjectMeta: withLabels(&pod.ObjectMeta), node: shared(pod.Spec.NodeName), hostNetwork: pod.Spec.HostNetwork,
		phase: corev1.PodPhase(shared(string(pod.Status.Phase))), ip: pod.Status.PodIP,
	}
	for _, ip := range pod.Status.PodIPs {
		if ip.IP != pod.Status.PodIP {
			out.ip2 = ip.IP
		}
	}
	if by := metav1.GetControllerOf(pod); by != nil {
		out.owner = owner{shared(by.Kind), shared(by.Name)}
	}
	if out.Labels[labelName] == "detnet" {
		for _, c := range pod.Spec.Containers {
			out.ports = append(out.ports, c.Ports...)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			if out.ready = unready; c.Status == corev1.ConditionTrue {
				out.ready = ready
			}
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
