package cgroups

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount gives the calling machine, which must be alone in its mount and cgroup
// namespaces, a /sys/fs/cgroup that shows its own branch as the root.
func Mount(hierarchies []Hierarchy) error {
	const root = "/sys/fs/cgroup"
	if hierarchies[0].v2() {
		if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			return fmt.Errorf("mount cgroup2 on %s: %w", root, err)
		}
		return ownLeaf(root)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", root, err)
	}
	for _, h := range hierarchies {
		dir := filepath.Join(root, filepath.Base(h.Mount))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", dir, "cgroup", 0, h.Options); err != nil {
			return fmt.Errorf("mount cgroup hierarchy %s on %s: %w", h.Options, dir, err)
		}
		if err := linkControllers(root, h.Options, filepath.Base(dir)); err != nil {
			return err
		}
	}
	return nil
}

// linkControllers makes the names cpu and cpuacct lead to the folder
// cpu,cpuacct, as hosts have it where controllers share a hierarchy.
func linkControllers(root, options, dir string) error {
	for c := range strings.SplitSeq(options, ",") {
		if c == dir || c == "none" || strings.HasPrefix(c, "name=") {
			continue
		}
		if err := os.Symlink(dir, filepath.Join(root, c)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// ownLeaf moves the calling process out of the root of its version 2 branch,
// so that the root may hand its controllers on.
func ownLeaf(root string) error {
	leaf := filepath.Join(root, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("move into %s: %w", leaf, err)
	}
	return delegate(root)
}
