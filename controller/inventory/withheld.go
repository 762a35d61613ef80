package inventory

import "github.com/detnet/detnet/workload"

// initial is the limit that a pod was admitted with, or would have been had
// detnet not only observed.
func initial(pod *slimPod) (text string, throttleable bool) {
	if text, ok := pod.Annotations[workload.AnnotationInitialBandwidth]; ok {
		return text, true
	}
	would, _, err := workload.ParseWithheld(pod.Annotations)
	if err != nil {
		return "", false // not admission's
	}
	text, throttleable = would.Annotations[workload.AnnotationInitialBandwidth]
	return text, throttleable
}

// withheld reports that a pod lacks what admission gives where detnet enforces.
func withheld(pod *slimPod) bool { return pod.Annotations[workload.AnnotationWould] != "" }
