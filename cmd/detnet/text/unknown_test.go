package text

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
)

// Who asks about a pod that detnet does nothing for is told what of the pod makes it so.
func TestUnknownPods(t *testing.T) {
	for want, tt := range map[string]struct {
		class, asked string
		phase        corev1.PodPhase
	}{
		"neither it nor its namespace had the label": {"", "", corev1.PodRunning},
		"asks for class critical and has none":       {"", "critical", corev1.PodRunning},
		"it is Pending":                              {"critical", "critical", corev1.PodPending},
		`asks for class critical and was admitted as standard; detnet policy explain says by which rules ("trust.downgrade@1")`: {"standard", "critical", corev1.PodRunning},
		"its class, standard, has neither targets nor a limit":                                                                  {"standard", "standard", corev1.PodRunning},
		"it asks for that": {"", "none", corev1.PodRunning},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{workload.LabelClass: tt.class, workload.LabelPriority: tt.asked},
			Annotations: map[string]string{workload.AnnotationDecision: "trust.downgrade@1"},
		}, Status: corev1.PodStatus{Phase: tt.phase}}
		if got := Unknown(pod); !strings.Contains(got, want) {
			t.Errorf("%+v: %q lacks %q", tt, got, want)
		}
	}
}
