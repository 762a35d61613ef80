package cgroups

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The host's own hierarchies, of both versions where it has both.
func TestTreeOnTheHost(t *testing.T) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs Linux and root")
	}
	hierarchies, err := Parse(string(mountinfo))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(mountinfo)) {
		if f := strings.Fields(line); strings.Contains(line, " - cgroup2 ") && !hierarchies[0].v2() {
			hierarchies = append(hierarchies, Hierarchy{Mount: f[4]})
			break
		}
	}
	for _, h := range hierarchies {
		t.Run(strings.ReplaceAll(h.Mount, "/", "."), func(t *testing.T) {
			tree := Tree{Name: fmt.Sprintf("detnet-sandbox-cgroups-test-%d", os.Getpid()), Hierarchies: []Hierarchy{h}, Yields: "control"}
			if err := tree.Create("control", "node1"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tree.Remove(context.Background()) }) // again, where the test failed before
			pod := filepath.Join(h.Mount, tree.Name, "node1", "kubepods", "pod")
			if err := os.MkdirAll(pod, 0o755); err != nil {
				t.Fatal(err)
			}
			weighs(t, filepath.Join(h.Mount, tree.Name))
			survivor := startIn(t, filepath.Join(h.Mount, tree.Name, "control"))
			if err := tree.Renew(t.Context(), "node1"); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(pod); err == nil {
				t.Error("a renewed leaf kept its pod's cgroup")
			}
			startIn(t, filepath.Join(h.Mount, tree.Name, "node1"))
			if err := tree.Remove(t.Context()); err != nil || exists(tree) {
				t.Errorf("remove with processes inside: %v, exists %v", err, exists(tree))
			}
			if err := survivor.Wait(); err == nil {
				t.Error("a process outlived its cgroup")
			}
		})
	}
}

// weighs checks what share of CPU time a branch and its leaves have, where the hierarchy
// gives any.
func weighs(t *testing.T, branch string) {
	t.Helper()
	for file, one := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
		for dir, want := range map[string]int{".": 16 * one, "node1": 8 * one, "control": one} {
			text, err := os.ReadFile(filepath.Join(branch, dir, file))
			if got := strings.TrimSpace(string(text)); err == nil && got != strconv.Itoa(want) {
				t.Errorf("%s of %s is %s, want %d", file, dir, got, want)
			}
		}
	}
}

// startIn starts a process that would live on, and moves it into a cgroup.
func startIn(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	return cmd
}
