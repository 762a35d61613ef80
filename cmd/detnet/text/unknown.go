package text

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/workload"
)

// Unknown says of a pod that the controller tells nothing about why that is, as far as the
// pod itself shows it.
func Unknown(pod *corev1.Pod) string {
	class, asked := pod.Labels[workload.LabelClass], pod.Labels[workload.LabelPriority]
	switch {
	case asked == "none":
		return fmt.Sprintf("it asks for that, by the label %s=none", workload.LabelPriority)
	case class == "" && asked == "":
		return fmt.Sprintf("it has no class, as neither it nor its namespace had the label %s when it was created", workload.LabelPriority)
	case class == "":
		return fmt.Sprintf("it asks for class %s and has none: see its Events, and whether detnet leaves its namespace alone", asked)
	case pod.Status.Phase != corev1.PodRunning:
		return fmt.Sprintf("it is %s, and counts while it runs", pod.Status.Phase)
	case asked != "" && asked != class:
		return fmt.Sprintf("it asks for class %s and was admitted as %s; detnet policy explain says by which rules (%q)", asked, class, pod.Annotations[workload.AnnotationDecision])
	}
	return fmt.Sprintf("its class, %s, has neither targets nor a limit, or its namespace is in mode off", class)
}
