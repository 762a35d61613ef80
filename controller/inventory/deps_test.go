package inventory

import (
	"os/exec"
	"strings"
	"testing"
)

// The inventory knows what is there; what to do about it is no concern of it.
func TestKnowsWithoutDeciding(t *testing.T) {
	refuse(t, "github.com/detnet/detnet/controller/law", "github.com/detnet/detnet/controller/actuate", "github.com/detnet/detnet/controller/agents")
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
