package live

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detnet/detnet/policies"
)

func mustLoad(t *testing.T, site policies.Set) (engine *policies.Engine) {
	t.Helper()
	unhurried(t, func(t *testing.T) { engine = load(t, site) })
	return engine
}

func load(t *testing.T, site policies.Set) *policies.Engine {
	t.Helper()
	engine, err := policies.Load(t.Context(), site.Over(policies.Default()))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// unhurried runs f by a clock that a busy machine does not move: no policy takes too long by it.
func unhurried(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// far is a context that ends in an hour: no decision is given less time then, and no set by what it
// decides as it is loaded.
func far(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
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

func mustDecide(t *testing.T, e *policies.Engine, in policies.Input) policies.Decision {
	t.Helper()
	d, err := e.Decide(far(t), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
