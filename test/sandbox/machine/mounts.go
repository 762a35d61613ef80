package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/cgroups"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// hostSysctls are the settings of the whole kernel that a kubelet writes. The
// machine gets copies, so that the host keeps its own.
var hostSysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// mount is one mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

// mountAll turns the fabric's view into that of a machine: its own processes,
// devices of its network namespace, cgroups from its own branch on, and disks.
func mountAll(s *instance.Spec, i int) error {
	disk := s.NodeDisk(i)
	for _, dir := range []string{"lib", "log", "etc", "etc.work", "opt", "opt.work"} {
		if err := os.MkdirAll(filepath.Join(disk, dir), 0o755); err != nil {
			return fmt.Errorf("prepare the disk: %w", err)
		}
	}
	if err := do(mount{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE}); err != nil {
		return err
	}
	if err := protectHost(s); err != nil {
		return err
	}
	if err := do(
		mount{source: "proc", target: "/proc", kind: "proc"},
		mount{source: "sysfs", target: "/sys", kind: "sysfs"},
	); err != nil {
		return err
	}
	if err := cgroups.Mount(s.Cgroups.Hierarchies); err != nil {
		return err
	}
	if err := do(
		mount{source: "bpf", target: "/sys/fs/bpf", kind: "bpf"},
		mount{source: "tmpfs", target: "/run", kind: "tmpfs", options: "mode=755"},
		mount{source: "tmpfs", target: "/tmp", kind: "tmpfs", options: "mode=1777"},
		mount{source: filepath.Join(disk, "lib"), target: "/var/lib", flags: unix.MS_BIND},
		mount{source: filepath.Join(disk, "log"), target: "/var/log", flags: unix.MS_BIND},
		overlay(disk, "etc"),
		overlay(disk, "opt"),
	); err != nil {
		return err
	}
	if err := shadowSysctls(); err != nil {
		return err
	}
	for _, dir := range []string{"/run/netns", "/opt/cni/bin"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// Pods that mount host folders with propagation need a shared tree.
	return do(mount{target: "/", flags: unix.MS_REC | unix.MS_SHARED})
}

// protectHost makes everything the machine sees of the host's disks read-only,
// but for the instance's own disk and logs. What a machine may write it gets
// mounted on top.
func protectHost(s *instance.Spec) error {
	if err := do(mount{source: s.LogDir(), target: s.LogDir(), flags: unix.MS_BIND}); err != nil {
		return err
	}
	set := func(path string, attr unix.MountAttr) error {
		if err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &attr); err != nil {
			return fmt.Errorf("set mount attributes of %s: %w", path, err)
		}
		return nil
	}
	return errors.Join(
		set("/", unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}),
		set("/dev", unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}),
		set(s.Disk(), unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}),
		set(s.LogDir(), unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}),
	)
}

// overlay lets the machine change its copy of one of the host's folders.
func overlay(disk, dir string) mount {
	upper := filepath.Join(disk, dir)
	return mount{source: "overlay", target: "/" + dir, kind: "overlay",
		options: fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s.work", dir, upper, upper)}
}

func shadowSysctls() error {
	const shadows = "/run/sysctl"
	if err := os.Mkdir(shadows, 0o755); err != nil {
		return err
	}
	for _, name := range hostSysctls {
		path := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a kernel setting: %w", err)
		}
		shadow := filepath.Join(shadows, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(shadow, value, 0o644); err != nil {
			return err
		}
		if err := do(mount{source: shadow, target: path, flags: unix.MS_BIND}); err != nil {
			return err
		}
	}
	return nil
}

func do(mounts ...mount) error {
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}
