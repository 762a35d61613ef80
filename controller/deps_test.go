package controller

import (
	"os/exec"
	"strings"
	"testing"
)

// The controller meets webhook and policies in the cluster only.
func TestNeverImportsTheWebhookOrPolicies(t *testing.T) {
	refuse(t, "github.com/detnet/detnet/webhook", "github.com/detnet/detnet/policies", "github.com/open-policy-agent/opa")
}

func refuse(t *testing.T, prefixes ...string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		for _, prefix := range prefixes {
			if pkg := strings.TrimSpace(line); strings.HasPrefix(pkg, prefix) {
				t.Errorf("imports %s", pkg)
			}
		}
	}
}
