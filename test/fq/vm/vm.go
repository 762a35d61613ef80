// Package vm runs one static program as the first process of a Linux guest
// whose clock is virtual: QEMU translates (no /dev/kvm) and counts instructions,
// one a nanosecond, so that how busy this machine is changes no figure.
//
// QEMU and the kernel are Debian's packages, unpacked below the cache.
package vm

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/detnet/detnet/test/fq/debian"
)

// Guest is what to run. The program is started as /init with Args on the
// kernel's command line (and so in /proc/cmdline); Modules lie in /modules in
// the order in which to load them, and Files are there by path. It ends the guest
// by a reboot.
type Guest struct {
	Program []byte // a static executable
	Files   map[string][]byte
	Modules []string
	Args    map[string]string
	Memory  int // MiB
}

// Run boots the guest and copies what it prints to out until it ends or ctx does.
// It returns the CPU time that emulation took.
func (p Parts) Run(ctx context.Context, g Guest, out io.Writer) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "detnet-vm-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // left over, it is in the way of nothing
	if err := p.write(dir, g); err != nil {
		return 0, fmt.Errorf("make the guest: %w", err)
	}
	cmd := debian.Command(ctx, p.root, "bin/qemu-system-x86_64",
		"-machine", "microvm,isa-serial=on,rtc=on,pic=on,pit=on,acpi=on", "-L", filepath.Join(p.root, "usr/share/qemu"), "-bios", "qboot.rom",
		"-seed", "1", "-accel", "tcg", "-cpu", "max,-la57,-rdrand,-rdseed", "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm",
		"-m", strconv.Itoa(g.Memory), "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(dir, "vmlinux"), "-initrd", filepath.Join(dir, "initrd"), "-append", commandLine(g.Args))
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("run the guest: %w", err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// commandLine silences the kernel, whose printing costs time in the guest, and
// leaves out what protects processes from one another, there is one, and its tests of
// ciphers, an eighth of a boot.
func commandLine(args map[string]string) string {
	line := "console=ttyS0 quiet panic=-1 nokaslr mitigations=off cryptomgr.notests tsc=reliable rdinit=/init"
	for _, name := range slices.Sorted(maps.Keys(args)) {
		line += " " + name + "=" + args[name]
	}
	return line
}

func (p Parts) write(dir string, g Guest) error {
	images, err := filepath.Glob(filepath.Join(p.kernel, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("find one kernel below %s: found %s", p.kernel, strings.Join(images, ", "))
	}
	image, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	elf, err := vmlinux(image)
	if err != nil {
		return fmt.Errorf("%s: %w", images[0], err)
	}
	files, err := p.modules(g.Modules)
	if err != nil {
		return err
	}
	maps.Copy(files, g.Files)
	files["init"] = g.Program
	initrd, err := archiveOf(files)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), elf, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "initrd"), initrd, 0o644)
}
