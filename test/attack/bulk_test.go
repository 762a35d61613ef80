package attack

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
)

// bulk are pods made to be much work, as far as an API server takes them and
// beyond: of each a decision is made, and they are stamped as any other.
func bulk() map[string]*corev1.Pod {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := attempt{namespace: "tenant", labels: claims("best-effort"), asks: map[string]string{}}.pod()
		change(p)
		return p
	}
	return map[string]*corev1.Pod{
		"256 KiB of annotations that look like detnet's": pod(func(p *corev1.Pod) {
			for i := range 4000 {
				p.Annotations[fmt.Sprintf("detnet.dev/max-latncy-%06d", i)] = strings.Repeat("9", 30)
			}
		}),
		"one long annotation of detnet's": pod(func(p *corev1.Pod) {
			p.Annotations[workload.AnnotationMaxBandwidth] = strings.Repeat("9", 200<<10)
		}),
		"a long query": pod(func(p *corev1.Pod) {
			p.Annotations[workload.AnnotationQuery] = strings.Repeat("(", 100<<10)
		}),
		"a long list of nodes": pod(func(p *corev1.Pod) {
			p.Annotations[workload.AnnotationProbeFrom] = strings.Repeat("n,", 100<<10)
		}),
		"1,000 containers of a port each": pod(func(p *corev1.Pod) {
			p.Spec.Containers = nil
			for i := range 1000 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: int32(1000 + i), Protocol: corev1.ProtocolTCP}}})
			}
		}),
		"one container of 5,000 ports": pod(func(p *corev1.Pod) {
			for i := range 5000 {
				p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: int32(1000 + 2*i), Protocol: corev1.ProtocolUDP})
			}
		}),
		"1,000 owners": pod(func(p *corev1.Pod) {
			for i := range 1000 {
				p.OwnerReferences = append(p.OwnerReferences, metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: fmt.Sprint("j", i), UID: "u"})
			}
		}),
	}
}

// overfull are more than the API server takes: only a stranger's review has them.
func overfull() map[string]*corev1.Pod {
	p := attempt{namespace: "tenant", labels: claims("best-effort"), asks: map[string]string{}}.pod()
	for i := range 20_000 {
		p.Annotations[fmt.Sprintf("detnet.dev/max-latncy-%06d", i)] = strings.Repeat("9", 30)
	}
	q := attempt{namespace: "tenant", labels: claims("best-effort"), asks: map[string]string{workload.AnnotationMaxBandwidth: strings.Repeat("9", 1<<20)}}.pod()
	return map[string]*corev1.Pod{"1 MB of annotations": p, "1 MiB in one annotation": q}
}

func checkBulk(t *testing.T, pods map[string]*corev1.Pod, enter door) {
	t.Helper()
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			got, err := enter(t, pod)
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			if got.Labels[workload.LabelClass] != "best-effort" || got.Annotations[workload.AnnotationEgressBandwidth] != "100M" {
				t.Errorf("class %q, limit %q: it is not stamped as any other", got.Labels[workload.LabelClass], got.Annotations[workload.AnnotationEgressBandwidth])
			}
			if err := keys.Verify("tenant", got.Labels, got.Annotations); err != nil {
				t.Errorf("the stamps are not signed: %v", err)
			}
		})
	}
}

func TestBulk(t *testing.T) {
	enter := byReview(mutator(t, still{}))
	checkBulk(t, bulk(), enter)
	checkBulk(t, overfull(), enter)
}
