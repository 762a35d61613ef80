package cilium

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Cilium's own policy engine is asked what comes of the policies that detnet makes
// beside those of others. It wants another client-go than detnet, so the questions
// are written by package netpol and asked in a module of its own, which is made for
// it.
func TestPoliciesInCiliumsEngine(t *testing.T) {
	if os.Getenv("DETNET_TEST_CILIUM") == "" {
		t.Skip("compiles Cilium's policy engine: set DETNET_TEST_CILIUM, or run make test-cilium-engine")
	}
	const from = "testdata/engine"
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	module := t.TempDir()
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(module, strings.TrimSuffix(file.Name(), ".txt")), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	questions, err := filepath.Abs("../../controller/netpol/testdata/engine.json")
	if err != nil {
		t.Fatal(err)
	}
	// Vetting all that it imports takes longer than to compile it.
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-v", ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "DETNET_QUESTIONS="+questions, "GOWORK=off")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
