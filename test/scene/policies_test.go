package scene

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/policies"
)

// The factory's workloads get the Cilium policies that were written by hand in the
// project's beginning (docs/from-the-original.md): who may be reached, and where.
// They deny nothing.
func TestFactoryHasItsThreePolicies(t *testing.T) {
	engine, err := policies.Load(t.Context(), policies.Default())
	if err != nil {
		t.Fatal(err)
	}
	text, err := render("factory.yaml", "dev")
	if err != nil {
		t.Fatal(err)
	}
	type policy struct {
		Class, Port        string
		DenyIngress, Yield bool
	}
	got := map[string][]policy{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var d appsv1.Deployment
		if err := yaml.Unmarshal([]byte(document), &d); err != nil {
			t.Fatal(err)
		}
		if d.Kind != "Deployment" {
			continue
		}
		decision := decide(t, engine, d)
		for _, p := range decision.NetworkPolicies {
			for _, rule := range p.Spec.Ingress {
				for _, to := range rule.ToPorts {
					for _, port := range to.Ports {
						got[d.Name] = append(got[d.Name], policy{
							Class: decision.Class, Port: string(port.Protocol) + ":" + port.Port,
							DenyIngress: p.Spec.EnableDefaultDeny.Ingress == nil || *p.Spec.EnableDefaultDeny.Ingress, Yield: p.Yields,
						})
					}
				}
			}
		}
	}
	want := map[string][]policy{
		"robot-control":  {{Class: "critical", Port: "UDP:5201", Yield: true}},
		"safety-scanner": {{Class: "critical", Port: "TCP:5202", Yield: true}},
	}
	for _, name := range Senders {
		want[name] = []policy{{Class: "best-effort", Port: "TCP:80", Yield: true}}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// decide is what the webhook decides for a pod of the Deployment.
func decide(t *testing.T, engine *policies.Engine, d appsv1.Deployment) policies.Decision {
	t.Helper()
	raw, err := json.Marshal(d.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := policies.ReadObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	decision, err := engine.Decide(t.Context(), policies.Input{
		Pod: pod, Operation: "CREATE",
		Namespace: policies.Namespace{Name: d.Namespace, Labels: map[string]string{"detnet.dev/allow-critical": "true"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return decision
}
