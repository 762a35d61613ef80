package webhook

import (
	"encoding/json"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// apply patches pod as the API server would.
func apply(t require, pod *corev1.Pod, d policies.Decision, p Priorities) (*corev1.Pod, []Warning) {
	t.Helper()
	ops, warnings := Patch(pod, d, Setting{Priorities: p, Sign: signed})
	if len(ops) == 0 {
		return pod, warnings
	}
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		t.Fatalf("patch %s: %v", encoded, err)
	}
	if raw, err = patch.Apply(raw); err != nil {
		t.Fatalf("apply %s: %v", encoded, err)
	}
	var out corev1.Pod
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return &out, warnings
}

type require interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// signed is a signature that depends on all that it is given.
func signed(labels, annotations map[string]string) string {
	return signature.Sign(signature.Key("a key for tests"), "shop", labels, annotations)
}

func wanted(value int32) Priorities {
	return Priorities{Wanted: &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "detnet-best-effort"}, Value: value}, Default: "usual"}
}

func bestEffort() policies.Decision {
	return policies.Decision{
		Class: "best-effort", PriorityClassName: "detnet-best-effort", Rank: 10,
		Bandwidth: policies.Bandwidth{
			Initial: 100 * bitrate.Mbit, Egress: 85 * bitrate.Mbit, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit, Weight: 1, Priority: "besteffort",
		},
		Reasons: []string{"class.pod-label"}, PolicyHash: "abc",
	}
}

func TestPatchPriority(t *testing.T) {
	value := func(v int32) *int32 { return &v }
	lower, never := corev1.PreemptLowerPriority, corev1.PreemptNever
	for name, test := range map[string]struct {
		spec     corev1.PodSpec
		p        Priorities
		want     corev1.PodSpec
		warnings int
	}{
		"none yet": {
			corev1.PodSpec{Priority: value(0), PreemptionPolicy: &lower}, wanted(-1),
			corev1.PodSpec{PriorityClassName: "detnet-best-effort", Priority: value(-1), PreemptionPolicy: &lower}, 0,
		},
		"globalDefault was filled in": {
			corev1.PodSpec{PriorityClassName: "usual", Priority: value(5), PreemptionPolicy: &never}, wanted(-1),
			corev1.PodSpec{PriorityClassName: "detnet-best-effort", Priority: value(-1), PreemptionPolicy: &lower}, 0,
		},
		"the user's own stays": {
			corev1.PodSpec{PriorityClassName: "mine", Priority: value(9)}, wanted(-1),
			corev1.PodSpec{PriorityClassName: "mine", Priority: value(9)}, 1,
		},
		"class is missing": {corev1.PodSpec{}, Priorities{}, corev1.PodSpec{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings := apply(t, &corev1.Pod{Spec: test.spec}, bestEffort(), test.p)
			if diff := cmp.Diff(test.want, got.Spec); diff != "" || len(warnings) != test.warnings {
				t.Errorf("warnings %v, spec (-want +got):\n%s", warnings, diff)
			}
		})
	}
}

func TestPatchEscapesKeys(t *testing.T) {
	d := bestEffort()
	d.Annotations = map[string]string{"a~b/c": "x"}
	got, _ := apply(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"other": "stays"}}}, d, wanted(1))
	if got.Annotations["a~b/c"] != "x" || got.Annotations["other"] != "stays" || got.Annotations[workload.AnnotationEgressBandwidth] != "85M" {
		t.Errorf("annotations: %v", got.Annotations)
	}
}

func TestPatchKeepsThePodsAffinity(t *testing.T) {
	term := func(topology string) corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: 1, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: topology}}
	}
	apart := func(terms ...corev1.WeightedPodAffinityTerm) *corev1.Affinity {
		return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: terms}}
	}
	d := bestEffort()
	d.Affinity = apart(term("ours"))
	got, _ := apply(t, &corev1.Pod{Spec: corev1.PodSpec{Affinity: apart(term("theirs"))}}, d, wanted(1))
	if diff := cmp.Diff(apart(term("theirs"), term("ours")), got.Spec.Affinity); diff != "" {
		t.Errorf("affinity (-want +got):\n%s", diff)
	}
}

// Whatever pod and decision are, a stamped pod needs no second stamp, and a
// protected one has no limit.
func TestPatchIsIdempotent(t *testing.T) {
	keys := append([]string{"app", "team~a/b"}, workload.ManagedAnnotations...)
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.MapOfN(rapid.SampledFrom(keys), rapid.SampledFrom([]string{"", "1", "10M", "x"}), 0, 8)
		pod := &corev1.Pod{}
		if rapid.Bool().Draw(t, "labelled") {
			pod.Labels = rapid.MapOf(rapid.SampledFrom([]string{"app", workload.LabelClass}), rapid.SampledFrom([]string{"a", "critical"})).Draw(t, "labels")
		}
		if rapid.Bool().Draw(t, "annotated") {
			pod.Annotations = texts.Draw(t, "annotations")
		}
		pod.Spec.HostNetwork = rapid.Bool().Draw(t, "hostNetwork")
		pod.Spec.PriorityClassName = rapid.SampledFrom([]string{"", "usual", "mine", "detnet-best-effort"}).Draw(t, "priorityClassName")
		d := rapid.SampledFrom([]policies.Decision{{}, bestEffort(), {Class: "critical", Protected: true, Rank: 100, Bandwidth: policies.Bandwidth{Priority: "guaranteed"}, SLO: policies.SLO{MaxJitter: "1ms"}}}).Draw(t, "decision")
		once, _ := apply(t, pod, d, wanted(3))
		if ops, _ := Patch(once, d, Setting{Priorities: wanted(3), Sign: signed}); len(ops) > 0 {
			t.Fatalf("second patch: %v", ops)
		}
		if _, limited := once.Annotations[workload.AnnotationEgressBandwidth]; limited && d.Protected {
			t.Fatalf("a protected pod is limited: %v", once.Annotations)
		}
	})
}
