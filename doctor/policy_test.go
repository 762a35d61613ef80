package doctor

import (
	"strings"
	"testing"

	"github.com/detnet/detnet/policies/live"
)

// A webhook that is ready with another policy than the site's is named, and why.
func TestPoliciesInForce(t *testing.T) {
	good := live.Replica{Pod: "a", Ready: true}
	if problem := policiesInForce([]live.Replica{good}); problem != "" {
		t.Errorf("problem %q, want none", problem)
	}
	for want, r := range map[string]live.Replica{
		"pod b decides by the default set: site.rego:3":  {Ready: true, Status: live.Status{Instead: "default set", LastError: "site.rego:3"}},
		"pod b stands by, with the default set: site.re": {Status: live.Status{Instead: "default set", LastError: "site.rego:3"}},
		"pod b refuses the newest and decides by the on": {Ready: true, Status: live.Status{LastError: "site.rego:3"}},
	} {
		r.Pod = "b"
		if problem := policiesInForce([]live.Replica{good, r}); !strings.HasPrefix(problem, want) || strings.Contains(problem, "pod a") {
			t.Errorf("problem %q, want %s", problem, want)
		}
	}
}
