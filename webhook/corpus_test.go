package webhook_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/manifest"
	"github.com/detnet/detnet/workload"
)

// corpus reads the pods of testdata/corpus.
func corpus(t *testing.T) []manifest.Pod {
	t.Helper()
	files, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pods []manifest.Pod
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Read(f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pods = append(pods, m.Pods...)
	}
	if len(pods) < 50 {
		t.Fatalf("the corpus has only %d pods", len(pods))
	}
	return pods
}

// Every pod of the corpus is accepted by the API server, and what came back is
// accepted again as it is: the second stamp changes nothing. Its Cilium
// policies are such that the CRD's schema accepts them.
func TestCorpusOnTheAPIServer(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	e, err := policies.Load(t.Context(), policies.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range corpus(t) {
		t.Run(p.Source, func(t *testing.T) {
			pod := &unstructured.Unstructured{Object: p.Object}
			d, err := e.Decide(t.Context(), policies.Input{Pod: pod.DeepCopy().Object, Operation: "CREATE", Namespace: policies.Namespace{
				Name: ns, Labels: map[string]string{"detnet.dev/allow-critical": "true"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			pod.SetNamespace(ns)
			if err := c.client.Create(t.Context(), pod); err != nil {
				t.Fatalf("refused: %v", err)
			}
			if got := pod.GetLabels()[workload.LabelClass]; got != d.Class {
				t.Errorf("class %q, decided was %q", got, d.Class)
			}
			again := pod.DeepCopy()
			again.SetName("")
			again.SetGenerateName("again-")
			again.SetResourceVersion("")
			again.SetUID("")
			again.SetCreationTimestamp(metav1.Time{})
			again.SetManagedFields(nil)
			if err := c.client.Create(t.Context(), again); err != nil {
				t.Fatalf("refused the second time: %v", err)
			}
			if diff := cmp.Diff(pod.Object["spec"], again.Object["spec"]) + cmp.Diff(pod.GetLabels(), again.GetLabels()) + cmp.Diff(pod.GetAnnotations(), again.GetAnnotations()); diff != "" {
				t.Errorf("the second stamp changed (-first +second):\n%s", diff)
			}
			for _, want := range d.NetworkPolicies {
				raw, err := json.Marshal(map[string]any{"spec": want.Spec})
				if err != nil {
					t.Fatal(err)
				}
				cnp := &unstructured.Unstructured{}
				if err := json.Unmarshal(raw, &cnp.Object); err != nil {
					t.Fatal(err)
				}
				cnp.SetAPIVersion("cilium.io/v2")
				cnp.SetKind("CiliumNetworkPolicy")
				cnp.SetNamespace(ns)
				cnp.SetGenerateName(want.Name + "-")
				if err := c.client.Create(t.Context(), cnp); err != nil {
					t.Errorf("Cilium policy %s: %v", want.Name, err)
				}
			}
		})
	}
}

// OPA's rule index must not change what is decided.
func TestCorpusWithoutIndexing(t *testing.T) {
	site := policies.Set{"site.rego": `package detnet.site

class := "standard" if input.pod.metadata.labels.app == "web"
else := "high" if input.namespace.labels.tier == "gold"

bandwidth.max := "200M" if input.namespace.labels["detnet.dev/priority"] == "best-effort"

labels[key] := "yes" if some key in ["a", "b"]

warnings contains "no owner" if not input.pod.metadata.annotations.owner

deny contains "no" if input.pod.metadata.labels.app == "forbidden"
`}
	for name, set := range map[string]policies.Set{"default": policies.Default(), "site": site.Over(policies.Default())} {
		indexed, err := policies.Compile(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range corpus(t) {
			for _, labels := range []map[string]string{nil, {"detnet.dev/allow-critical": "true"}, {"detnet.dev/priority": "best-effort"}, {"detnet.dev/priority": "gold"}, {"tier": "gold"}} {
				in := policies.Input{Pod: p.Object, Operation: "CREATE", Namespace: policies.Namespace{Name: "corpus", Labels: labels}}
				got, want := decision(t, indexed, in), decision(t, indexed.WithoutIndexing(), in)
				if got != want {
					t.Errorf("%s: %s in a namespace with %v:\nwithout index %s\nwith index    %s", name, p.Source, labels, want, got)
				}
			}
		}
	}
}

func decision(t *testing.T, e *policies.Engine, in policies.Input) string {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
