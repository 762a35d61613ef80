package placement

import (
	"os/exec"
	"strings"
	"testing"
)

// Placement is arithmetic.
func TestIsPure(t *testing.T) {
	refuse(t, "k8s.io/", "log", "time", "net")
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
