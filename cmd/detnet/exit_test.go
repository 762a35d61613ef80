package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/doctor"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/program"
)

var update = flag.Bool("update", false, "write docs/reference/exit-codes.md")

const exitCodes = "../../docs/reference/exit-codes.md"

// A script tells an answer that is no from a question that was not answered.
func TestAnAnswerIsNoFailure(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pod := func(name, priority string) string {
		return write(name, "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b, labels: {detnet.dev/priority: "+priority+"}}\nspec: {containers: [{name: c, image: d}]}\n")
	}
	good, refused := pod("good.yaml", "best-effort"), pod("refused.yaml", "high")
	write("deny/site.rego", "package detnet.site\n\ndeny contains \"not high\" if input.pod.metadata.labels[\"detnet.dev/priority\"] == \"high\"\n")
	write("broken/site.rego", "package detnet.site\n\nclass := oops\n")
	write("failing/site_test.rego", "package detnet.site_test\n\ntest_never if false\n")
	other := write("config.yaml", "laws: {adaptive: {window: 300ms}}")
	write("empty/readme", "")

	for line, want := range map[string]int{
		"policy eval -d deny " + good:                0,
		"policy eval -d deny " + refused:             program.Failed,
		"policy explain -d deny " + refused:          program.Failed,
		"policy eval nosuch.yaml":                    program.Misuse,
		"policy eval -d deny " + refused + " nosuch": program.Misuse,
		"policy explain nosuch.yaml":                 program.Misuse,
		"policy eval -d nosuch " + good:              program.Misuse,
		"policy eval -d broken " + good:              program.Misuse,
		"policy eval " + other:                       program.Misuse, // no pod is in it
		"policy test -d deny":                        0,
		"policy test -d failing":                     program.Failed,
		"policy test -d deny --coverage 100":         program.Failed,
		"policy test -d deny --coverage 101":         program.Misuse,
		"policy test -d nosuch":                      program.Misuse,
		"policy test -d empty":                       program.Misuse,
		"policy test -d broken":                      program.Misuse,
		"policy check -d deny":                       0,
		"policy check -d failing":                    program.Failed,
		"policy check -d broken":                     program.Failed,
		"policy check -d nosuch":                     program.Misuse,
		"policy diff -d deny " + good:                0,
		"policy diff -d deny " + refused:             program.Failed,
		"policy diff -d nosuch " + good:              program.Misuse,
		"policy diff -d broken " + good:              program.Misuse,
		"policy diff -d deny nosuch.yaml":            program.Misuse,
		"replay nosuch":                              program.Misuse,
		"replay " + good:                             program.Misuse,
		"import nosuch":                              program.Misuse,
		"import " + good:                             program.Misuse,
		"simulate --config nosuch --scenario tcp":    program.Misuse,
		"simulate --trace nosuch":                    program.Misuse,
		"top --url http://127.0.0.1:1":               program.Misuse,
		"explain a/b --url http://127.0.0.1:1":       program.Misuse,
		"record --url http://127.0.0.1:1 -o -":       program.Misuse,
	} {
		args := strings.Fields(line)
		for i, arg := range args {
			if i > 0 && args[i-1] == "-d" {
				args[i] = filepath.Join(dir, arg)
			}
		}
		root := newRootCommand()
		root.SetArgs(args)
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		var err error
		run := func(ctx context.Context) { err = root.ExecuteContext(ctx) }
		if args[0] == "policy" { // a decision that takes too long is ended
			await.Unhurried(t, run)
		} else {
			run(t.Context())
		}
		if exitCode(err) != want {
			t.Errorf("detnet %s: %v ends with %d, want %d", line, err, exitCode(err), want)
		}
	}
	problem := []doctor.Finding{{Check: "agents", Problem: "none runs"}}
	if err := reportFindings(io.Discard, "text", problem); exitCode(err) != program.Failed {
		t.Errorf("a problem: %v", err)
	}
	if err := reportFindings(io.Discard, "text", []doctor.Finding{{Check: "agents"}}); err != nil {
		t.Error(err)
	}
}

// The reference is made of the commands.
func TestExitCodesAreCurrent(t *testing.T) {
	var want bytes.Buffer
	want.WriteString(`# Exit codes of detnet

| code | |
|---|---|
| 0 | done; what was looked at is as it should be |
| 1 | it is not: the answer of the commands below |
| 2 | no answer: a flag, an argument or a file that is no good, a node or a namespace that is not there, a cluster out of reach, work that failed |

So 1 of ` + "`policy eval`" + ` is a pod refused, and 2 a manifest that is missing, as with grep and diff.
The other commands end with 0 or 2.

| command | 1 if |
|---|---|
`)
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if when := c.Annotations[exitOne]; when != "" {
			fmt.Fprintf(&want, "| `%s` | %s |\n", c.CommandPath(), when)
		}
		for _, each := range c.Commands() {
			visit(each)
		}
	}
	visit(newRootCommand())
	want.WriteString("\nGenerated by `go test ./cmd/detnet -update`; do not edit.\n")
	if *update {
		if err := os.WriteFile(exitCodes, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(exitCodes); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not current (%v): go test ./cmd/detnet -update", exitCodes, err)
	}
}
