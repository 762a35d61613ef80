package status

import (
	"os/exec"
	"strings"
	"testing"
)

// A status can be read by anything: no Kubernetes, no metrics, no law.
func TestIsPlainData(t *testing.T) {
	refuse(t, "k8s.io/", "sigs.k8s.io/", "github.com/prometheus/", "github.com/detnet/detnet/controller/law", "github.com/detnet/detnet/controller/inventory")
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
