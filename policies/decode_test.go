package policies

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Whatever a policy answers, reading it does not panic, and what is accepted
// can be stamped.
func FuzzDecision(f *testing.F) {
	e, err := Compile(f.Context(), Default())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"class": "critical", "networkPolicies": [{"name": "p", "spec": {"endpointSelector": {}, "egress": [{}]}}]}`,
		`{"class": "best-effort", "bandwidth": {"max": "200M", "egress": 5, "weight": 1.5}}`,
		`{"class": "", "deny": ["x"], "affinity": {"nodeAffinity": {}}}`,
		`[]`, `{"class": {}}`, `{"labels": {"a": null}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ast.ValueFromReader(strings.NewReader(text))
		if err != nil {
			return
		}
		d, err := e.decide(v, asks{}, declared{}, Input{Pod: Object{}})
		if err != nil || d.Class == "" {
			return
		}
		if err := d.validate(); err != nil {
			t.Fatalf("accepted and invalid: %v", err)
		}
		if d.Protected && d.Bandwidth.Egress != 0 {
			t.Fatalf("a protected pod is limited: %+v", d)
		}
	})
}
