package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// awaitHostState waits until the host is as it was: other tests may run beside
// this one and make mounts and interfaces for a moment.
func awaitHostState(t *testing.T, want []string) {
	t.Helper()
	await.Success(t, "the host is as it was", func() error {
		got := hostState(t)
		if !slices.Equal(got, want) {
			return fmt.Errorf("before:\n%s\nand after:\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
		return nil
	})
}

// hostState is what a sandbox must leave as it was: mounts, interfaces and the
// kernel settings that Kubernetes likes to write. What tests beside this one mount in
// folders of their own, such as small disks, comes and goes.
func hostState(t *testing.T) []string {
	t.Helper()
	var state []string
	for line := range strings.Lines(readFile(t, "/proc/self/mountinfo")) {
		if at := strings.Fields(line)[4]; !strings.HasPrefix(at, filepath.Join(os.TempDir(), "Test")) { // proc_pid_mountinfo(5)
			state = append(state, strings.TrimSpace(line))
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		state = append(state, l.Name)
	}
	for _, name := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/hostname",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet",
		"net/netfilter/nf_conntrack_max",
	} {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		state = append(state, name+"="+strings.TrimSpace(string(value)))
	}
	return state
}

// leftovers lists what is still there of the test's instance: processes that
// are alive, cgroups, state.
func leftovers(t *testing.T) []string {
	t.Helper()
	left := livingProcesses(t)
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, err := filepath.Glob(pattern + instance.CgroupName(clusterName))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, dirs...)
	}
	cache, err := assets.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(instance.Dir(cache, clusterName)); err == nil {
		left = append(left, instance.Dir(cache, clusterName))
	}
	return left
}

// livingProcesses lists processes in the instance's cgroups. A zombie counts as
// gone: it waits for the host's first process, not for the sandbox.
func livingProcesses(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var living []string
	for _, file := range files {
		cgroups, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(cgroups), instance.CgroupName(clusterName)) {
			continue // ended meanwhile, or somebody else's
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		if err != nil {
			continue
		}
		if _, state, ok := strings.Cut(string(stat), ") "); ok && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X") {
			living = append(living, string(stat))
		}
	}
	return living
}

// A keeper that is killed can't clean up: the kernel ends its processes, and the
// next start or Sweep removes the rest.
func TestClusterOfKilledKeeper(t *testing.T) {
	sandbox.Require(t)
	c, err := sandbox.Up(t.Context(), sandbox.Config{Name: clusterName, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Sweep(context.Background()) })
	cache, err := assets.Open()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := instance.Read(filepath.Join(instance.Dir(cache, clusterName), "instance.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(spec.Keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "no process of a killed sandbox lives on", func() error {
		if living := livingProcesses(t); len(living) > 0 {
			return errors.New(strings.Join(living, "\n"))
		}
		return nil
	})
	if err := c.Close(); err != nil {
		t.Errorf("close what is gone: %v", err)
	}
	if _, err := sandbox.Open(clusterName); !errors.Is(err, sandbox.ErrNotRunning) {
		t.Errorf("open what is gone: %v", err)
	}
	if err := sandbox.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leftovers(t); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// Two instances of one name would share cgroups and state.
func TestClusterNameIsTaken(t *testing.T) {
	sandbox.Require(t)
	c, err := sandbox.Up(t.Context(), sandbox.Config{Name: clusterName, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	second, err := sandbox.Up(t.Context(), sandbox.Config{Name: clusterName, Nodes: 1})
	if err == nil {
		second.Close()
		t.Fatal("a second instance of the same name came up")
	}
	if !strings.Contains(err.Error(), instance.ErrRunning.Error()) {
		t.Errorf("the second instance says %v", err)
	}
	if _, err := c.Kubectl(t.Context(), "get", "nodes"); err != nil {
		t.Errorf("the first instance suffered: %v", err)
	}
}

// TestClusterCycles brings a cluster up and down as often as SANDBOX_CYCLES
// says; it is no part of the ordinary run.
func TestClusterCycles(t *testing.T) {
	sandbox.Require(t)
	n, err := strconv.Atoi(os.Getenv("SANDBOX_CYCLES"))
	if err != nil {
		t.Skip("set SANDBOX_CYCLES to the number of cycles")
	}
	for i := range n {
		start := time.Now()
		c, err := sandbox.Up(t.Context(), sandbox.Config{Name: clusterName})
		if err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		up := time.Since(start)
		start = time.Now()
		if err := c.Close(); err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		t.Logf("cycle %d: up %.2fs, down %.2fs", i, up.Seconds(), time.Since(start).Seconds())
		if left := leftovers(t); len(left) > 0 {
			t.Fatalf("cycle %d left behind:\n%s", i, strings.Join(left, "\n"))
		}
	}
}
