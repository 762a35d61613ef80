package main

import (
	"slices"
	"testing"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
	"github.com/detnet/detnet/workload"
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
	in := unstamped(t.Context(), from, policies.Input{Pod: object, Operation: "CREATE", Namespace: policies.Namespace{Name: "shop", Labels: map[string]string{workload.LabelFloorsAtMost: "20M"}}})
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
	want := []trial.Change{{Field: "bandwidth.classMin", From: "10M", To: "5M"}, {Field: "bandwidth.max", From: "1G", To: "2G"}}
	if len(got) != 1 || !slices.Equal(got[0].Changes, want) {
		t.Errorf("changes %+v, want the class's floor and the ceiling alone, not the pod's own floor", got)
	}
}
