package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/detnet/detnet/internal/apitest"
)

const goldClass = "classes:\n  gold: {rank: 60, priorityClassName: gold}\n  silver: {rank: 50, priorityClassName: system-node-critical}\n"

// A PriorityClass that nobody is known to make is a warning: the policy is good,
// but pods will not get what it says.
func TestPolicyCheckTellsOfUnknownPriorityClasses(t *testing.T) {
	out, err := detnet(t, "", "check", "-d", policyDir(t, "site.yaml", goldClass))
	if err != nil || strings.Count(out, "warning:") != 1 || !strings.Contains(out, "PriorityClass gold, which the chart does not make") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = detnet(t, "", "check"); err != nil || strings.Contains(out, "warning:") {
		t.Errorf("the default set: %v\n%s", err, out)
	}
}

func TestPolicyCheckAsksTheCluster(t *testing.T) {
	env := apitest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	out, err := detnet(t, "", "check", "--cluster", "-d", policyDir(t, "site.yaml", goldClass))
	// There is no chart in this cluster either.
	for _, name := range []string{"gold", "detnet-critical", "detnet-high", "detnet-best-effort"} {
		if !strings.Contains(out, "PriorityClass "+name+", which the cluster does not have") {
			t.Errorf("%s is not told: %v\n%s", name, err, out)
		}
	}
	if err != nil || strings.Contains(out, "system-node-critical") {
		t.Errorf("%v\n%s", err, out)
	}
}
