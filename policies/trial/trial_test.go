package trial

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
)

func mustLoad(t *testing.T, site policies.Set) (engine *policies.Engine) {
	t.Helper()
	var err error
	await.Unhurried(t, func(ctx context.Context) { engine, err = policies.Load(ctx, site.Over(policies.Default())) })
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func pod(t *testing.T, text string) policies.Input {
	t.Helper()
	object, err := policies.ReadObject([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return policies.Input{Pod: object, Operation: "CREATE", Namespace: policies.Namespace{Name: "shop"}}
}

const bestEffort = `{"metadata":{"labels":{"detnet.dev/priority":"best-effort"}},"spec":{}}`

func TestCompareNamesTheFields(t *testing.T) {
	decide := func(site policies.Set) policies.Decision {
		e, in := mustLoad(t, site), pod(t, bestEffort)
		var d policies.Decision
		var err error
		await.Unhurried(t, func(ctx context.Context) { d, err = e.Decide(ctx, in) })
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b := decide(nil), decide(policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {max: 500M}}}"})
	if got := Compare(a, a); got != nil {
		t.Errorf("a decision differs from itself: %v", got)
	}
	if diff := cmp.Diff([]Change{{"bandwidth.max", "1G", "500M"}}, Compare(a, b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRunTellsChangesFromFailures(t *testing.T) {
	to := mustLoad(t, policies.Set{"site.rego": `package detnet.site

labels.team := input.pod.metadata.labels.team if input.pod.metadata.labels.app == "x"
`})
	from, subjects := mustLoad(t, nil), []Subject{
		{"same", pod(t, bestEffort)},
		{"changed", pod(t, `{"metadata":{"labels":{"detnet.dev/priority":"high","app":"x","team":"a"}},"spec":{}}`)},
		{"failing", pod(t, `{"metadata":{"labels":{"detnet.dev/priority":"high","app":"x","team":"not a label"}},"spec":{}}`)},
	}
	var got []Difference
	var err error
	await.Unhurried(t, func(ctx context.Context) { got, err = Run(ctx, from, to, subjects) })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Source != "changed" || len(got[0].Changes) != 1 || got[1].Source != "failing" || got[1].Error == "" {
		t.Errorf("got %+v", got)
	}
}
