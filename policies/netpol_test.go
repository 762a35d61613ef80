package policies

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detnet/detnet/workload"
)

// policyNames are the names of the decision's Cilium policies.
func policyNames(d Decision) []string {
	var out []string
	for _, p := range d.NetworkPolicies {
		out = append(out, p.Name)
	}
	return out
}

func TestWorkloadPolicy(t *testing.T) {
	in := podInput(t, map[string]string{workload.LabelPriority: "critical", "app": "Robot_Control"}, map[string]string{workload.ProbeWith: "udp:5201"})
	for mode, deny := range map[string]bool{"allow": false, "strict": true} {
		d := mustDecide(t, mustLoad(t, Set{"site.yaml": "classes: {critical: {networkPolicies: " + mode + "}}"}), in)
		if diff := cmp.Diff([]string{"detnet-robot-control-tcp8080-udp5201"}, policyNames(d)); diff != "" {
			t.Fatalf("names (-want +got):\n%s", diff)
		}
		raw, err := json.Marshal(d.NetworkPolicies[0].Spec)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(raw, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"endpointSelector":  map[string]any{"matchLabels": map[string]any{"k8s:app": "Robot_Control", "k8s:detnet.dev/class": "critical"}},
			"enableDefaultDeny": map[string]any{"ingress": deny, "egress": deny},
			"ingress": []any{map[string]any{
				"fromEntities": []any{"cluster"},
				"toPorts": []any{map[string]any{"ports": []any{
					map[string]any{"port": "8080", "protocol": "TCP"}, map[string]any{"port": "5201", "protocol": "UDP"},
				}}},
			}},
			"egress": []any{map[string]any{"toEntities": []any{"cluster"}}},
			"log":    map[string]any{"value": "detnet"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", mode, diff)
		}
	}
}

func TestNoWorkloadPolicy(t *testing.T) {
	e := mustLoad(t, nil)
	labels := map[string]string{workload.LabelPriority: "critical", "app": "a"}
	host := podInput(t, labels, nil)
	host.Pod["spec"].(map[string]any)["hostNetwork"] = true
	silent := podInput(t, labels, nil)
	silent.Pod["spec"] = map[string]any{}
	for name, in := range map[string]Input{
		"nothing names the workload": podInput(t, map[string]string{workload.LabelPriority: "critical"}, nil),
		"class without policies":     podInput(t, map[string]string{workload.LabelPriority: "standard", "app": "a"}, nil),
		"host network":               host,
		"no ports":                   silent,
	} {
		if got := policyNames(mustDecide(t, e, in)); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A site adds policies, and replaces the workload's by its name.
func TestSitePolicies(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": `package detnet.site

rule := {"endpointSelector": {}, "egress": [{}], "description": "ours"}

networkPolicies["detnet-a-tcp8080"] := rule

networkPolicies["more"] := rule
`})
	d := mustDecide(t, e, podInput(t, map[string]string{workload.LabelPriority: "critical", "app": "a"}, nil))
	if diff := cmp.Diff([]string{"detnet-a-tcp8080", "more"}, policyNames(d)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if d.NetworkPolicies[0].Spec.Description != "ours" {
		t.Error("the workload's policy was not replaced")
	}
}

// What Cilium's proxy handles is not limited: the user is told.
func TestL7EgressWarns(t *testing.T) {
	const rule = `package detnet.site

networkPolicies["p"] := {
	"endpointSelector": {},
	"egress": [{"toEntities": ["world"], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]%s}]}],
}
`
	for l7, want := range map[string]int{"": 0, `, "rules": {"http": [{"method": "GET"}]}`: 1} {
		e := mustLoad(t, Set{"site.rego": fmt.Sprintf(rule, l7)})
		for priority, times := range map[string]int{"best-effort": 1, "high": 0} { // high has no limit
			d := mustDecide(t, e, podInput(t, map[string]string{workload.LabelPriority: priority}, nil))
			if len(d.Warnings) != want*times {
				t.Errorf("with %q class %s has the warnings %q", l7, priority, d.Warnings)
			}
		}
	}
}
