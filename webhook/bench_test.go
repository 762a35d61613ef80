package webhook

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/policies"
)

// BenchmarkDecideAndPatch is the cost of a typical pod by what it is labelled.
// The bar is 100 µs and 500 allocations.
func BenchmarkDecideAndPatch(b *testing.B) {
	raw, err := os.ReadFile("testdata/typical.json")
	if err != nil {
		b.Fatal(err)
	}
	engine, err := policies.Compile(b.Context(), policies.Default())
	if err != nil {
		b.Fatal(err)
	}
	for _, priority := range []string{"none", "critical", "best-effort"} {
		b.Run(priority, func(b *testing.B) {
			labelled := bytes.Replace(raw, []byte(`:"best-effort"`), []byte(`:"`+priority+`"`), 1)
			var pod corev1.Pod
			if err := json.Unmarshal(labelled, &pod); err != nil {
				b.Fatal(err)
			}
			object, err := policies.ReadObject(labelled)
			if err != nil {
				b.Fatal(err)
			}
			in := policies.Input{Pod: object, Operation: "CREATE", Namespace: policies.Namespace{
				Name: "shop", Labels: map[string]string{"detnet.dev/allow-critical": "true"},
			}}
			b.ReportAllocs()
			for b.Loop() {
				d, err := engine.Decide(b.Context(), in)
				if err != nil {
					b.Fatal(err)
				}
				Patch(&pod, d, Setting{Priorities: wanted(-1), Sign: signed})
			}
		})
	}
}

// BenchmarkReview is the same with the review decoded and the answer encoded.
func BenchmarkReview(b *testing.B) {
	raw, err := os.ReadFile("testdata/typical.json")
	if err != nil {
		b.Fatal(err)
	}
	engine, err := policies.Compile(b.Context(), policies.Default())
	if err != nil {
		b.Fatal(err)
	}
	m := newMutator(nil)
	m.Decider = engine
	body := review(b, string(raw), nil)
	b.ReportAllocs()
	for b.Loop() {
		post(m, body)
	}
}
