package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/internal/program"
)

// What a command does not take it refuses, before it does anything, and ends with the code for
// that, as 1 may say that something was found: an argument that is left over is a flag or a name
// that was mistyped.
func TestMisuseIsRefused(t *testing.T) {
	for _, line := range []string{
		"surplus", "doctor surplus", "explain ns/pod surplus", "import file surplus", "record surplus",
		"replay file surplus", "restore surplus", "simulate surplus", "top surplus", "reflect surplus", "probe",
		"policy surplus", "policy test surplus", "policy check surplus", "policy shadow surplus",
		"doctor -o xml", "explain ns/pod -o xml", "import file --only x", "policy eval -o xml file", "replay file -o xml",
		"restore -o xml", "top -o xml", "top --limit -1", "restore --dry-run --network-policies", "policy diff",
		"simulate --law nosuch", "simulate --seeds 0", "simulate --limiter x", "simulate --scenario nosuch",
		"help nosuch", "help policy nosuch", "top --watch -1s", "top --kubeconfig /nosuch", "top --context nosuch", "doctor --kubeconfig /nosuch",
		"policy shadow --kubeconfig /nosuch", "policy diff --cluster --kubeconfig /nosuch", "policy check --cluster --kubeconfig /nosuch", "restore --kubeconfig /nosuch",
		"--bogus", "completion bash surplus", "completion bash --bogus", "simulate --bogus", "policy test --bogus",
	} {
		root := newRootCommand()
		root.SetArgs(strings.Fields(line))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		if err := root.ExecuteContext(t.Context()); exitCode(err) != program.Misuse {
			t.Errorf("detnet %s: %v ends with %d, want %d", line, err, exitCode(err), program.Misuse)
		}
	}
}

// Every command says which arguments it takes: cobra's default is any.
func TestCommandsSayTheirArguments(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Args == nil {
			t.Errorf("%s takes whatever it is given", c.CommandPath())
		}
		for _, each := range c.Commands() {
			visit(each)
		}
	}
	visit(newRootCommand())
}
