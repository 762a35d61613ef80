package policies

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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
	in := podInput(t, map[string]string{workload.LabelPriority: "critical", "app": "Robot_Control"}, nil)
	container := in.Pod["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["ports"] = append(container["ports"].([]any), map[string]any{"containerPort": json.Number("5201"), "protocol": "UDP"})
	for mode, deny := range map[string]bool{"allow": false, "strict": true} {
		d := mustDecide(t, mustLoad(t, Set{"site.yaml": "classes: {critical: {networkPolicies: " + mode + "}}"}), in)
		// The mode is not in the name: a change of it changes the policy in place.
		if diff := cmp.Diff([]string{policyName("critical", "app", "Robot_Control", []port{{"8080", "TCP"}, {"5201", "UDP"}})}, policyNames(d)); diff != "" {
			t.Fatalf("names (-want +got):\n%s", diff)
		}
		if !d.NetworkPolicies[0].Yields {
			t.Error("the policy does not yield to others")
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
	name := policyName("critical", "app", "a", []port{{"8080", "TCP"}})
	e := mustLoad(t, Set{"site.rego": `package detnet.site

rule := {"endpointSelector": {}, "egress": [{}], "description": "ours"}

networkPolicies["` + name + `"] := rule

networkPolicies["more"] := rule
`})
	d := mustDecide(t, e, podInput(t, map[string]string{workload.LabelPriority: "critical", "app": "a"}, nil))
	if diff := cmp.Diff([]string{name, "more"}, policyNames(d)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if d.NetworkPolicies[0].Spec.Description != "ours" {
		t.Error("the workload's policy was not replaced")
	}
	if d.NetworkPolicies[0].Yields || d.NetworkPolicies[1].Yields {
		t.Error("the site's own rules yield to others")
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

// Two policies have two names, and one has one.
func TestPolicyNames(t *testing.T) {
	e := mustLoad(t, Set{"site.yaml": "classes: {Best_Effort: {rank: 1, networkPolicies: allow}, best-effort: {networkPolicies: allow}}"})
	name := func(class string, labels map[string]string, ports ...any) string {
		labels[workload.LabelPriority] = class
		in := podInput(t, labels, nil)
		in.Pod["spec"] = map[string]any{"containers": []any{map[string]any{"ports": ports}}}
		names := policyNames(mustDecide(t, e, in))
		if len(names) != 1 {
			t.Fatalf("%s %v has the policies %q", class, labels, names)
		}
		return names[0]
	}
	number := func(n int) any { return map[string]any{"containerPort": json.Number(fmt.Sprint(n))} }
	web := func() map[string]string { return map[string]string{"app.kubernetes.io/name": "web"} }
	many := func(last int) []any {
		var out []any
		for n := range 60 {
			out = append(out, number(1000+2*n))
		}
		return append(out, number(last))
	}
	seen := map[string]string{}
	for what, got := range map[string]string{
		"critical":         name("critical", web(), number(80)),
		"best effort":      name("best-effort", web(), number(80)),
		"a class alike":    name("Best_Effort", web(), number(80)),
		"another label":    name("critical", map[string]string{"app": "web"}, number(80)),
		"a third":          name("critical", map[string]string{"k8s-app": "web"}, number(80)),
		"a dot":            name("critical", map[string]string{"app": "my.app"}, number(80)),
		"a dash":           name("critical", map[string]string{"app": "My-App"}, number(80)),
		"another port":     name("critical", web(), number(81)),
		"more ports":       name("critical", web(), number(80), number(81)),
		"many ports":       name("critical", web(), many(5000)...),
		"many, one other":  name("critical", web(), many(5001)...),
		"class and name":   name("critical", map[string]string{"app": "a-b"}, number(80)),
		"longest possible": name("critical", map[string]string{"app": strings.Repeat("x", 63)}, number(80)),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s are both called %s", what, other, got)
		}
		seen[got] = what
	}
	if one, two := name("critical", web(), number(80), number(81)), name("critical", web(), number(81), number(80)); one != two {
		t.Errorf("the order of the ports makes two names: %s and %s", one, two)
	}
}

// Every declared port is in the policy, however many there are and wherever
// they are declared.
func TestAllPorts(t *testing.T) {
	var ports []any
	add := func(n int, protocol string) {
		ports = append(ports, map[string]any{"containerPort": json.Number(fmt.Sprint(n)), "protocol": protocol})
	}
	add(5060, "UDP")
	add(5061, "TCP")
	for n := range 60 {
		add(10000+n, "UDP")
	}
	for n := range 100 {
		add(20000+2*n, "TCP")
	}
	in := podInput(t, map[string]string{workload.LabelPriority: "critical", "app": "media"}, nil)
	in.Pod["spec"] = map[string]any{
		"containers": []any{map[string]any{"ports": ports}},
		"initContainers": []any{
			map[string]any{"restartPolicy": "Always", "ports": []any{map[string]any{"containerPort": json.Number("15090")}}},
			map[string]any{"ports": []any{map[string]any{"containerPort": json.Number("15091")}}},
		},
	}
	d := mustDecide(t, mustLoad(t, Set{"site.yaml": "classes: {critical: {networkPolicies: strict}}"}), in)
	open := map[string]bool{}
	for _, rule := range d.NetworkPolicies[0].Spec.Ingress[0].ToPorts {
		if len(rule.Ports) > 40 {
			t.Errorf("an entry has %d ports, more than Cilium takes", len(rule.Ports))
		}
		for _, p := range rule.Ports {
			first, err := strconv.Atoi(p.Port)
			if err != nil {
				t.Fatal(err)
			}
			for n := first; n <= max(first, int(p.EndPort)); n++ {
				open[fmt.Sprint(p.Protocol, n)] = true
			}
		}
	}
	if len(open) != 163 {
		t.Errorf("%d ports are open, want 163", len(open))
	}
	for _, want := range []string{"UDP5060", "TCP5061", "UDP10000", "UDP10059", "TCP20000", "TCP20198", "TCP15090"} {
		if !open[want] {
			t.Errorf("%s is not open", want)
		}
	}
	if open["TCP15091"] || open["TCP20001"] {
		t.Error("a port is open that nobody serves")
	}
}
