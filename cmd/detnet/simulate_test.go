package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// simulation is the command with what it will print and say.
func simulation(args ...string) (cmd *cobra.Command, printed, said *bytes.Buffer) {
	printed, said = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = newSimulateCommand()
	cmd.SilenceUsage = true // as the root does
	cmd.SetArgs(args)
	cmd.SetOut(printed)
	cmd.SetErr(said)
	return cmd, printed, said
}

func TestSimulateOwnTrace(t *testing.T) {
	dir := t.TempDir()
	trace, out := filepath.Join(dir, "own.csv"), filepath.Join(dir, "report")
	if err := os.WriteFile(trace, []byte("seconds,jitter_ms\n0,0.3\n5,\n10,3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, printed, said := simulation("--trace", trace, "--law", "step,aimd", "--out", out)
	err := cmd.ExecuteContext(t.Context())
	if err != nil || !strings.Contains(printed.String(), "| step | 0.30 | 3.00 | 1.65 | 60M | 110M | 60M | 1 | 1 |") {
		t.Errorf("%v, printed\n%s", err, printed)
	}
	if !strings.HasSuffix(said.String(), "100 % done\nreport in "+out+"\n") {
		t.Errorf("said %q", said)
	}
	summary, err := os.ReadFile(filepath.Join(out, "SUMMARY.md"))
	if err != nil || string(summary) != printed.String() {
		t.Errorf("SUMMARY.md is not what was printed: %v", err)
	}
}

// Whatever can't work is said before minutes of work, and nothing is written.
func TestSimulateRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const good = "seconds,jitter_ms\n0,1\n5,1\n"
	tests := map[string][]string{
		"no law is named":        {"--law", "pid"},
		"want at least one of":   {"--law", ""},
		`"step" is there twice`:  {"--law", "step,step"},
		`"bursts" is there`:      {"--scenario", "bursts,bursts"},
		"no scenario is named":   {"--scenario", "nowhere"},
		"--seeds 0":              {"--seeds", "0"},
		"--seeds 2000":           {"--seeds", "2000"},
		"two traces are named":   {"--trace", write("a/x.csv", good) + "," + write("b/x.csv", good)},
		"want a header":          {"--trace", write("bare.csv", "0,1\n5,1\n10,1\n")},
		"the shortest is 1ms":    {"--trace", write("fast.csv", "seconds,jitter_ms\n0,1\n0.001,1\n")},
		"no such file":           {"--trace", filepath.Join(dir, "none.csv")},
		"make folder for the re": {"--out", filepath.Join(write("file", ""), "report")},
	}
	for want, args := range tests {
		report := filepath.Join(t.TempDir(), "report")
		cmd, printed, said := simulation(append([]string{"--out", report}, args...)...)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
		if _, err := os.Stat(report); err == nil || printed.Len() > 0 || strings.Contains(said.String(), "%") {
			t.Errorf("%v: began all the same: %s%s", args, printed, said)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd, _, _ := simulation("--scenario", "tcp-overload", "--out", filepath.Join(dir, "cancelled"))
	if err := cmd.ExecuteContext(ctx); err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("cancelled: %v", err)
	}
}

// A trace has the start and target that are given, and the laws the constants.
func TestSimulateTunesATrace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	trace := write("own.csv", "timestamp,jitter_ms\n1767225600,1.5\n1767225605,1.5\n1767225610,1.5\n")
	settings := write("controller.yaml", "laws:\n  step:\n    decrease: 20M\n")
	cmd, printed, _ := simulation("--trace", trace, "--law", "step", "--start", "300M", "--target", "1.2ms", "--config", settings, "--out", filepath.Join(dir, "a"))
	if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(printed.String(), "step began with 300M, and for a target of 1.2ms cut 2 times and raised 0 times, to 260M at the least") {
		t.Errorf("%v:\n%s", err, printed)
	}
	for want, args := range map[string][]string{
		"--target 1h0m0s: want": {"--target", "1h"},
		"--start":               {"--start", "much"},
		"read --config":         {"--config", filepath.Join(dir, "none.yaml")},
		"laws.step.decrease":    {"--config", write("bad.yaml", "laws:\n  step:\n    decrease: 0M\n")},
		"exclude each other":    {"--all", "--scenario", "bursts"},
	} {
		cmd, _, _ := simulation(append([]string{"--law", "step", "--trace", trace, "--out", filepath.Join(dir, "b")}, args...)...)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
