package policies

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/detnet/detnet"

// OPA is 20 MB of program: only who decides by policy links it. Of detnet's
// packages none but this one imports it, and the agent and the controller do
// not even through this one.
func TestOnlyThisPackageImportsOPA(t *testing.T) {
	out := goList(t, "-e", "-test", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...")
	for line := range strings.Lines(out) {
		pkg, imports, _ := strings.Cut(line, " ")
		if strings.HasPrefix(pkg, module+"/policies") {
			continue
		}
		if strings.Contains(imports, "github.com/open-policy-agent/opa/") {
			t.Errorf("%s imports OPA", pkg)
		}
	}
}

func TestAgentAndControllerDoNotLinkOPA(t *testing.T) {
	for _, program := range []string{"cmd/detnet-agent", "cmd/detnet-controller"} {
		for dep := range strings.Lines(goList(t, "-e", "-deps", module+"/"+program)) {
			if strings.HasPrefix(dep, "github.com/open-policy-agent/opa/") {
				t.Errorf("%s links %s", program, strings.TrimSpace(dep))
				break
			}
		}
	}
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return string(out)
}
