package live

import (
	"encoding/json"
	"testing"

	"github.com/detnet/detnet/policies"
)

func mustLoad(t testing.TB, site policies.Set) *policies.Engine {
	t.Helper()
	engine, err := policies.Load(t.Context(), site.Over(policies.Default()))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// podInput is a pod of a namespace that trusts its critical pods.
func podInput(t testing.TB, labels map[string]string) policies.Input {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"generateName": "p-", "labels": labels},
		"spec":     map[string]any{"containers": []any{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := policies.ReadObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	return policies.Input{Pod: pod, Operation: "CREATE", Namespace: policies.Namespace{
		Name: "shop", Labels: map[string]string{"detnet.dev/allow-critical": "true"},
	}}
}

func mustDecide(t testing.TB, e *policies.Engine, in policies.Input) policies.Decision {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
