package webhook

import (
	"os/exec"
	"strings"
	"testing"
)

// The webhook and the controller are separate programs that meet in the
// cluster only.
func TestNeverImportsTheController(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for pkg := range strings.Lines(string(out)) {
		if strings.HasPrefix(pkg, "github.com/detnet/detnet/controller") {
			t.Errorf("imports %s", strings.TrimSpace(pkg))
		}
	}
}
