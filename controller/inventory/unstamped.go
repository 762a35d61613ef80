package inventory

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/workload"
)

// originalPriority is the label of the original's manifests.
const originalPriority = "priority"

// unstampedPods follow pods that ask for a class and carry none: they were
// created while the webhook was away.
func (inv *Inventory) unstampedPods() []source {
	return []source{
		inv.podSource("", workload.LabelPriority+",!"+workload.LabelClass, inv.setUnstamped),
		inv.podSource("", originalPriority+" in (critical,best-effort),!"+workload.LabelPriority+",!"+workload.LabelClass, inv.setUnstamped),
	}
}

func (inv *Inventory) setUnstamped(key string, object any) {
	var p Problem
	pod, ok := object.(*corev1.Pod)
	if ok && !inv.exempt(pod.Namespace) && pod.DeletionTimestamp == nil && (pod.Status.Phase == corev1.PodPending || pod.Status.Phase == corev1.PodRunning) {
		p = Problem{Object: "pod " + key, Unstamped: pod.UID, Text: "it asks for a class but was created without passing the webhook: it is neither protected nor limited until it is mended or recreated, as with kubectl rollout restart"}
	}
	keep(inv, inv.unstamped, key, p)
}

// exempt namespaces are those that the webhook leaves alone.
func (inv *Inventory) exempt(namespace string) bool {
	return namespace == inv.namespace || strings.HasPrefix(namespace, "kube-")
}

func namespaceOf(key string) string {
	namespace, _, _ := strings.Cut(key, "/")
	return namespace
}
