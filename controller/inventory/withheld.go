package inventory

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/workload"
)

// would is on a pod that was admitted while detnet only observed: as JSON, what
// it would have got.
const would = "detnet.dev/would"

// initial is the limit that a pod was admitted with, or would have been had
// detnet not only observed.
func initial(pod *corev1.Pod) (text string, throttleable bool) {
	if text, ok := pod.Annotations[workload.InitialBandwidth]; ok {
		return text, true
	}
	var w struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal([]byte(pod.Annotations[would]), &w) != nil {
		return "", false // not there, or not admission's
	}
	text, throttleable = w.Annotations[workload.InitialBandwidth]
	return text, throttleable
}

// withheld reports that a pod lacks what admission gives where detnet enforces.
func withheld(pod *corev1.Pod) bool { return pod.Annotations[would] != "" }
