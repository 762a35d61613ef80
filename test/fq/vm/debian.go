// Package vm runs one static program as the first process of a Linux guest
// whose clock is virtual: QEMU translates (no /dev/kvm) and counts instructions,
// one a nanosecond, so that how busy this machine is changes no figure.
//
// QEMU and the kernel are Debian's packages, unpacked below the cache, with
// nothing installed on this machine and no root needed.
package vm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// release is the Debian release that the packages come from: its kernel has fq
// with bands (Linux 6.7) and its QEMU boots an ELF kernel on a microvm.
const release = "trixie"

const (
	emulator = "qemu-system-x86"
	kernel   = "linux-image-cloud-amd64"
)

// Parts are the unpacked packages.
type Parts struct {
	root   string // of QEMU and every library it needs
	kernel string // of the kernel's package
}

// EnsureParts unpacks the packages below dir unless that was done before. It
// needs apt-get and dpkg, and the archive that this machine's apt uses.
func EnsureParts(ctx context.Context, dir string, log *slog.Logger) (Parts, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Parts{}, err
	}
	p := Parts{filepath.Join(dir, "qemu"), filepath.Join(dir, "linux")}
	if Unpacked(dir) {
		return p, nil
	}
	log.Info("unpacking Debian packages", "release", release, "packages", []string{emulator, kernel})
	if err := os.RemoveAll(dir); err != nil {
		return Parts{}, err
	}
	a, err := newApt(ctx, dir)
	if err != nil {
		return Parts{}, err
	}
	if err := a.unpack(ctx, p); err != nil {
		return Parts{}, fmt.Errorf("unpack Debian's %s and %s: %w", emulator, kernel, err)
	}
	return p, os.WriteFile(mark(dir), nil, 0o644)
}

// Unpacked reports whether EnsureParts has nothing to do.
func Unpacked(dir string) bool {
	_, err := os.Stat(mark(dir))
	return err == nil
}

// mark is the file that says that all is there.
func mark(dir string) string { return filepath.Join(dir, "complete-"+release) }

// apt is an apt-get with a state of its own, in which nothing is installed, so
// that it fetches every library.
type apt struct{ dir, config, archives string }

func newApt(ctx context.Context, dir string) (apt, error) {
	a := apt{dir, filepath.Join(dir, "apt.conf"), filepath.Join(dir, "apt/cache/archives")}
	for _, sub := range []string{"apt/state/lists/partial", "apt/cache/archives/partial", "apt/etc/preferences.d", "qemu", "linux"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return apt{}, err
		}
	}
	site, err := archive(ctx)
	if err != nil {
		return apt{}, err
	}
	lines := []string{
		`Dir "` + filepath.Join(dir, "apt") + `";`,
		`Dir::State "state"; Dir::Cache "cache"; Dir::Etc "etc"; Dir::Log "state";`,
		`Dir::State::status "` + filepath.Join(dir, "apt/state/status") + `";`,
		`APT::Architecture "amd64"; APT::Install-Recommends "false"; APT::Sandbox::User "";`,
		`Acquire::Languages "none"; Debug::NoLocking "true";`,
	}
	source := "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + site + " " + release + " main\n"
	return a, errors.Join(
		os.WriteFile(a.config, []byte(strings.Join(lines, "\n")+"\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "apt/state/status"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "apt/etc/sources.list"), []byte(source), 0o644),
	)
}

// archive is the Debian archive that this machine's apt is set up with.
func archive(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE)").Output()
	if err != nil {
		return "", fmt.Errorf("ask apt-get for its archive (is this Debian?): %w", err)
	}
	for _, site := range strings.Fields(string(out)) {
		if strings.HasSuffix(site, "/debian") {
			return site, nil
		}
	}
	return "", errors.New("apt-get knows no Debian archive; run 'apt-get update' once")
}

func (a apt) unpack(ctx context.Context, p Parts) error {
	if _, err := a.run(ctx, "apt-get", "update"); err != nil {
		return err
	}
	if _, err := a.run(ctx, "apt-get", "install", "--download-only", "-y", emulator); err != nil {
		return err
	}
	depends, err := a.run(ctx, "apt-cache", "depends", "--important", kernel)
	if err != nil {
		return err
	}
	_, image, found := strings.Cut(depends, "Depends: ")
	if !found {
		return fmt.Errorf("%s depends on no kernel", kernel)
	}
	if _, err := a.run(ctx, "apt-get", "download", strings.Fields(image)[0]); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(a.archives, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range packages {
		to := p.root
		if strings.HasPrefix(filepath.Base(file), "linux-image") {
			to = p.kernel
		}
		if _, err := a.run(ctx, "dpkg-deb", "--extract", file, to); err != nil {
			return err
		}
	}
	return os.RemoveAll(a.archives)
}

func (a apt) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = a.archives
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.config, "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, out)
	}
	return string(out), nil
}
