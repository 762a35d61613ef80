package webhook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/manifest"
)

// What is read of the corpus' pods is what the whole type says.
func TestPodOfReadsWhatTheTypeSays(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Read(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Pods {
			meta := p.Object["metadata"].(map[string]any)
			meta["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u", "controller": true}}
			got, err := podOf(p.Object)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if diff := cmp.Diff(whole(t, p.Object), got); diff != "" {
				t.Errorf("%s (-type +read):\n%s", file, diff)
			}
		}
	}
}

// whole decodes the pod as its type and keeps what stamps depend on.
func whole(t *testing.T, o policies.Object) *corev1.Pod {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	out := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}}
	for _, o := range pod.OwnerReferences {
		out.OwnerReferences = append(out.OwnerReferences, metav1.OwnerReference{APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Name, Controller: o.Controller})
	}
	out.Spec = corev1.PodSpec{
		NodeSelector: pod.Spec.NodeSelector, HostNetwork: pod.Spec.HostNetwork, OS: pod.Spec.OS, Affinity: pod.Spec.Affinity,
		PriorityClassName: pod.Spec.PriorityClassName, Priority: pod.Spec.Priority, PreemptionPolicy: pod.Spec.PreemptionPolicy,
	}
	return out
}

func TestPodOfRefusesWhatIsNoPod(t *testing.T) {
	for _, text := range []string{`{"metadata":[]}`, `{"metadata":{},"spec":"x"}`, `{"metadata":{},"spec":{"affinity":7}}`} {
		o, err := policies.ReadObject([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := podOf(o); !errors.Is(err, policies.ErrInput) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
