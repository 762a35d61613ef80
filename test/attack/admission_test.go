// Package attack plays tenants, pods and careless administrators against
// detnet's own programs, and states what must come of it.
package attack

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
)

// attempt is a pod that a tenant creates, and what they must be left with.
type attempt struct {
	name      string
	namespace string
	labels    map[string]string
	asks      map[string]string
	change    func(*corev1.Pod)

	class    string
	priority string            // PriorityClass
	has      map[string]string // annotations with these values
	lacks    []string          // annotations that must be gone
}

func texts(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

func claims(priority string) map[string]string {
	return texts("app", "greedy", workload.LabelPriority, priority)
}

func withPriorityClass(name string, value int32) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.PriorityClassName, pod.Spec.Priority = name, &value }
}

func ownedBy(apiVersion, kind, name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: "u", Controller: &yes}}
	}
}

// measured are the keys that make others pay for a pod.
var measured = []string{
	workload.AnnotationMaxJitter, workload.AnnotationMaxLatency, workload.AnnotationMaxLoss, workload.AnnotationProbe, workload.AnnotationQuery, workload.AnnotationDSCP,
	workload.AnnotationProbeFrom, workload.AnnotationReflector, workload.AnnotationCiliumPriority,
}

// stamps are all that a tenant can forge.
func stamps() map[string]string {
	return texts(workload.AnnotationDecision, "class.pod-label@0123456789ab", workload.AnnotationRank, "1000", workload.AnnotationInitialBandwidth, "400G",
		workload.AnnotationMaxBandwidth, "400G", workload.AnnotationSignature, keys.Current.ID()+".AAAA", workload.AnnotationWould, "{}",
		workload.AnnotationMaxJitter, "10us", workload.AnnotationCiliumPriority, "guaranteed")
}

var limits = []string{workload.AnnotationEgressBandwidth, workload.AnnotationInitialBandwidth, workload.AnnotationIngressBandwidth}

var attempts = []attempt{{
	name: "targets and priority without trust", namespace: "tenant", labels: claims("critical"),
	asks: texts(workload.AnnotationMaxJitter, "10us", workload.AnnotationMaxLatency, "100us", workload.AnnotationMaxLoss, "0.001%", workload.AnnotationProbe, "tcp:80",
		workload.AnnotationQuery, "max(x)", workload.AnnotationDSCP, "EF", workload.AnnotationProbeFrom, "worker-1", workload.AnnotationReflector, "node", workload.AnnotationCiliumPriority, "guaranteed"),
	change: withPriorityClass("detnet-critical", 1_000_000),
	class:  "standard", lacks: measured,
}, {
	name: "a target nobody can meet", namespace: "trusted", labels: claims("critical"), asks: texts(workload.AnnotationMaxJitter, "10us", workload.AnnotationMaxLoss, "0.001%"),
	class: "critical", priority: "detnet-critical", has: texts(workload.AnnotationMaxJitter, "100µs", workload.AnnotationMaxLoss, "0.01%"),
}, {
	name: "vantage points of one's own choice", namespace: "trusted", labels: claims("critical"), asks: texts(workload.AnnotationProbeFrom, "worker-1", workload.AnnotationReflector, "pod"),
	class: "critical", priority: "detnet-critical", lacks: []string{workload.AnnotationProbeFrom}, has: texts(workload.AnnotationReflector, "node", workload.AnnotationProbe, "stamp"),
}, {
	name: "probes into a port that is not the pod's", namespace: "trusted", labels: claims("critical"), asks: texts(workload.AnnotationProbe, "tcp:10250"),
	class: "critical", priority: "detnet-critical", has: texts(workload.AnnotationProbe, "stamp", workload.AnnotationReflector, "node"),
}, {
	name: "the same port by another protocol", namespace: "trusted", labels: claims("critical"), asks: texts(workload.AnnotationProbe, "udp:80"),
	class: "critical", priority: "detnet-critical", has: texts(workload.AnnotationProbe, "stamp", workload.AnnotationReflector, "node"),
}, {
	name: "no probe asked for costs the app nothing", namespace: "trusted", labels: claims("critical"),
	class: "critical", priority: "detnet-critical", has: texts(workload.AnnotationProbe, "stamp", workload.AnnotationReflector, "node"),
}, {
	name: "a forged life", namespace: "tenant", labels: texts(workload.LabelClass, "critical"), asks: stamps(),
	change: withPriorityClass("detnet-critical", 1_000_000), class: "", lacks: slices.Collect(maps.Keys(stamps())),
}, {
	name: "restored with the stamps of a former class", namespace: "tenant", labels: texts(workload.LabelClass, "critical", workload.LabelPriority, "standard"), asks: stamps(),
	change: withPriorityClass("detnet-critical", 1_000_000), class: "standard", lacks: append([]string{workload.AnnotationInitialBandwidth, workload.AnnotationMaxBandwidth, workload.AnnotationWould}, measured...),
}, {
	name: "a PriorityClass of another class", namespace: "tenant", labels: claims("best-effort"), change: withPriorityClass("detnet-critical", 1_000_000),
	class: "best-effort", priority: "detnet-best-effort", has: texts(workload.AnnotationEgressBandwidth, "100M"),
}, {
	name: "a way out by none", namespace: "bound", labels: claims("none"), class: "best-effort", priority: "detnet-best-effort", has: texts(workload.AnnotationEgressBandwidth, "100M"),
}, {
	name: "a way out by standard", namespace: "bound", labels: claims("standard"), class: "best-effort", priority: "detnet-best-effort", has: texts(workload.AnnotationEgressBandwidth, "100M"),
}, {
	name: "a way out by no label", namespace: "bound", labels: texts("app", "greedy"), class: "best-effort", priority: "detnet-best-effort", has: texts(workload.AnnotationEgressBandwidth, "100M"),
}, {
	name: "observing is harmless", namespace: "careful", labels: claims("best-effort"), class: "best-effort", lacks: append(limits, workload.AnnotationCiliumPriority),
}, {
	name: "observing does not forget who may not have a PriorityClass", namespace: "careful", labels: claims("critical"), change: withPriorityClass("detnet-critical", 1_000_000),
	class: "standard", lacks: measured,
}, {
	name: "off stamps nothing", namespace: "out", labels: claims("best-effort"), class: "", lacks: append(limits, workload.AnnotationCiliumPriority, workload.AnnotationDecision, workload.AnnotationWould),
}, {
	name: "off does not believe stamps", namespace: "out", labels: texts(workload.LabelClass, "critical"), asks: stamps(), change: withPriorityClass("detnet-critical", 1_000_000),
	class: "", lacks: []string{workload.AnnotationDecision, workload.AnnotationRank, workload.AnnotationInitialBandwidth, workload.AnnotationSignature, workload.AnnotationWould},
}}

// Owners that name nothing, or lead elsewhere in the API.
func init() {
	for _, owner := range [][3]string{
		{"batch/v1", "Job", ".."}, {"batch/v1", "Job", "a%2fb"}, {"batch/v1", "Job", "../../pods"}, {"batch/v1", "..", "x"},
		{"../v1", "Job", "x"}, {"batch/v1", "Job", strings.Repeat("a", 10_000)}, {"nobody.example.com/v1", "Job", "x"},
	} {
		attempts = append(attempts, attempt{
			name: "owner " + owner[0] + " " + owner[1] + " " + owner[2][:min(len(owner[2]), 20)], namespace: "tenant",
			labels: texts(workload.LabelClass, "critical", workload.LabelPriority, "best-effort"), asks: stamps(), change: ownedBy(owner[0], owner[1], owner[2]),
			class: "best-effort", priority: "detnet-best-effort", has: texts(workload.AnnotationMaxBandwidth, "1G", workload.AnnotationRank, "10"), lacks: []string{workload.AnnotationMaxJitter},
		})
	}
}

func (a attempt) pod() *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: a.namespace, Labels: maps.Clone(a.labels), Annotations: maps.Clone(a.asks)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}}}}},
	}
	if a.change != nil {
		a.change(pod)
	}
	return pod
}

func (a attempt) check(t *testing.T, enter door) {
	t.Helper()
	got, err := enter(t, a.pod())
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	if class := got.Labels[workload.LabelClass]; class != a.class || got.Spec.PriorityClassName != a.priority {
		t.Errorf("class %q and PriorityClass %q, want %q and %q", class, got.Spec.PriorityClassName, a.class, a.priority)
	}
	for key, want := range a.has {
		if got.Annotations[key] != want {
			t.Errorf("%s: %q, want %q", key, got.Annotations[key], want)
		}
	}
	for _, key := range a.lacks {
		if value, ok := got.Annotations[key]; ok {
			t.Errorf("%s: %q is left", key, value)
		}
	}
	if a.class == "" {
		return
	}
	if err := keys.Verify(a.namespace, got.Labels, got.Annotations); err != nil {
		t.Errorf("the stamps are not signed: %v", err)
	}
	again := got.DeepCopy()
	again.ObjectMeta = metav1.ObjectMeta{GenerateName: "p-", Namespace: a.namespace, Labels: got.Labels, Annotations: got.Annotations, OwnerReferences: got.OwnerReferences}
	second, err := enter(t, again)
	if err != nil {
		t.Fatalf("refused the second time: %v", err)
	}
	if !maps.Equal(got.Annotations, second.Annotations) || !maps.Equal(got.Labels, second.Labels) || got.Spec.PriorityClassName != second.Spec.PriorityClassName {
		t.Errorf("a second pass changes %v\nto %v", got.ObjectMeta, second.ObjectMeta)
	}
}

func TestAdmission(t *testing.T) {
	enter := byReview(mutator(t, still{}))
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) { a.check(t, enter) })
	}
}

// Whoever reaches the webhook learns what it would do, and does nothing by it;
// about a namespace that is left alone they learn nothing.
func TestForgedReviewOfAnExemptNamespace(t *testing.T) {
	a := attempt{namespace: "kube-system", labels: claims("best-effort")}
	got, err := byReview(mutator(t, still{}))(t, a.pod())
	if err != nil || len(got.Annotations) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}
