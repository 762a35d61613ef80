package main

import (
	"testing"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
)

// What the policy in force stamped is no wish of the pod's owner; what the owner
// asked for is one still.
func TestStampsAreNoWishes(t *testing.T) {
	load := func(data string) *policies.Engine {
		engine, err := policies.Load(t.Context(), policies.Set{"site.yaml": data}.Over(policies.Default()))
		if err != nil {
			t.Fatal(err)
		}
		return engine
	}
	from, to := load("{}"), load("classes: {best-effort: {bandwidth: {max: 2G, min: 5M}}}")
	const stamped = `{"metadata":{"labels":{"detnet.dev/priority":"best-effort","detnet.dev/class":"best-effort"},"annotations":{
		"detnet.dev/decision":"class.pod-label@x","detnet.dev/rank":"10","detnet.dev/initial-bandwidth":"100M",
		"kubernetes.io/egress-bandwidth":"23M","detnet.dev/max-bandwidth":"1G","detnet.dev/weight":"1","bandwidth.cilium.io/priority":"besteffort",
		"detnet.dev/min-bandwidth":"20M"}},"spec":{}}`
	object, err := policies.ReadObject([]byte(stamped))
	if err != nil {
		t.Fatal(err)
	}
	in := unstamped(t.Context(), from, policies.Input{Pod: object, Operation: "CREATE", Namespace: policies.Namespace{Name: "shop"}})
	before, err := from.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if before.Bandwidth.Min.String() != "20M" || before.Bandwidth.Egress.String() != "100M" {
		t.Errorf("as created it got %+v, want the floor it asked for and the limit it began with", before.Bandwidth)
	}
	got, err := trial.Run(t.Context(), from, to, []trial.Subject{{Source: "p", Input: in}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(got[0].Changes) != 1 || got[0].Changes[0].To != "2G" {
		t.Errorf("changes %+v, want the ceiling alone", got)
	}
}
