package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is an instance's branch: one folder called Name in each hierarchy.
type Tree struct {
	Hierarchies []Hierarchy
	Name        string
	Yields      string // the leaf that makes way for the others where CPU time is short
}

// Whether a pod answers in time must depend on its own node, as where each is a machine of
// its own: what else runs on the host makes way for the branch, and the control plane for
// the nodes. In times the weight that the kernel gives a cgroup by itself.
const (
	branchWeight = 16
	leafWeight   = 8
)

// Create makes the branch and a leaf for each of the given names in it.
func (t Tree) Create(leaves ...string) error {
	for _, h := range t.Hierarchies {
		dir := filepath.Join(h.Mount, t.Name)
		if h.v2() {
			if err := delegate(h.Mount); err != nil {
				return err
			}
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup: %w", err)
		}
		prepare := initCpuset
		if h.v2() {
			prepare = delegate
		}
		if err := errors.Join(prepare(dir), weigh(dir, branchWeight)); err != nil {
			return err
		}
		for _, leaf := range leaves {
			if err := t.createLeaf(dir, leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t Tree) createLeaf(dir, leaf string) error {
	path := filepath.Join(dir, leaf)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	if leaf == t.Yields {
		return nil
	}
	return weigh(path, leafWeight)
}

// weigh sets a cgroup's share of CPU time, in times that of one whose share nobody set
// (sched(7), cgroups(7)); it does nothing in hierarchies of other controllers.
func weigh(dir string, times int) error {
	for file, one := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(strconv.Itoa(times * one))
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("set %s of a new cgroup: %w", file, err)
		}
	}
	return nil
}

// Renew empties a leaf: what ran in it is dead, and the cgroups that it made for
// its own children must not outlive it.
func (t Tree) Renew(ctx context.Context, leaf string) error {
	branch := Tree{Hierarchies: t.Hierarchies, Name: filepath.Join(t.Name, leaf)}
	if err := branch.Remove(ctx); err != nil {
		return err
	}
	return t.Create(leaf)
}

// Join moves the calling process into a leaf.
func (t Tree) Join(leaf string) error {
	for _, h := range t.Hierarchies {
		path := filepath.Join(h.Mount, t.Name, leaf, "cgroup.procs")
		if err := os.WriteFile(path, []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// initCpuset lets a version 1 cpuset start with its parent's processors and
// hand them on; a new one is empty and refuses processes.
func initCpuset(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "cpuset.cpus"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another controller's hierarchy
	}
	if err != nil {
		return err
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return fmt.Errorf("set %s of a new cgroup: %w", file, err)
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0)
}

// kubeletControllers are the version 2 controllers that a kubelet and runc use.
var kubeletControllers = []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}

// delegate hands the controllers that dir has, and a kubelet uses, to its
// children. Those already handed on stay as they are.
func delegate(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	control := filepath.Join(dir, "cgroup.subtree_control")
	enabled, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	enable := toEnable(string(available), string(enabled))
	if enable == "" {
		return nil
	}
	err = os.WriteFile(control, []byte(enable), 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("hand cgroup controllers on in %s: %w: it has processes of its own; "+
			"in a container, move them into a child cgroup first", dir, err)
	}
	if err != nil {
		return fmt.Errorf("hand cgroup controllers (%s) on in %s: %w", enable, dir, err)
	}
	return nil
}

func toEnable(available, enabled string) string {
	var add []string
	on := strings.Fields(enabled)
	for _, c := range strings.Fields(available) {
		if slices.Contains(kubeletControllers, c) && !slices.Contains(on, c) {
			add = append(add, "+"+c)
		}
	}
	return strings.Join(add, " ")
}

// Remove kills what is left in the branch and removes it. The kernel takes a
// moment to let go of a cgroup whose processes have died, so it tries again
// until ctx ends.
func (t Tree) Remove(ctx context.Context) error {
	for {
		var failed error
		for _, h := range t.Hierarchies {
			failed = errors.Join(failed, removeBranch(filepath.Join(h.Mount, t.Name)))
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroups %s: %w", t.Name, failed)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// removeBranch makes one attempt, children first.
func removeBranch(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeBranch(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	kill(dir)
	// Under version 1 the pages of dead processes hold the cgroup; this file
	// exists there alone.
	_ = os.WriteFile(filepath.Join(dir, "memory.force_empty"), []byte("0"), 0)
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return fmt.Errorf("rmdir %s: %w", dir, err)
	}
	return nil
}

// kill ends the processes of one cgroup. Whatever it fails to end shows as a
// cgroup that cannot be removed.
func kill(dir string) {
	procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(procs)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
