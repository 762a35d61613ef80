// Package debian unpacks packages of a Debian release below a folder, with every
// library they need: nothing is installed on this machine, and no root is needed.
package debian

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

// Release is the Debian release that the packages come from.
const Release = "trixie"

// Set is what is unpacked together.
type Set struct {
	Package string // with all it depends on, below the folder Root
	Root    string
	// Meta is a package whose first dependency is unpacked below the folder Alone,
	// without what that depends on; empty for none.
	Meta, Alone string
}

// Ensure unpacks the set below dir unless that was done before. It needs apt-get
// and dpkg, and the archive that this machine's apt uses.
func (s Set) Ensure(ctx context.Context, dir string, log *slog.Logger) error {
	if Unpacked(dir) {
		return nil
	}
	names := strings.TrimSpace(s.Package + " " + s.Meta)
	log.Info("unpacking Debian packages", "release", Release, "packages", names)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	a, err := newApt(ctx, dir)
	if err != nil {
		return err
	}
	if err := a.unpack(ctx, s); err != nil {
		return fmt.Errorf("unpack Debian's %s: %w", names, err)
	}
	return os.WriteFile(mark(dir), nil, 0o644)
}

// Unpacked reports whether Ensure has nothing to do.
func Unpacked(dir string) bool {
	_, err := os.Stat(mark(dir))
	return err == nil
}

// mark is the file that says that all is there.
func mark(dir string) string { return filepath.Join(dir, "complete-"+Release) }

// Command runs a program that lies unpacked below root, with the libraries there.
func Command(ctx context.Context, root, program string, args ...string) *exec.Cmd {
	usr := filepath.Join(root, "usr")
	return exec.CommandContext(ctx, filepath.Join(usr, "lib64/ld-linux-x86-64.so.2"),
		append([]string{"--library-path", filepath.Join(usr, "lib/x86_64-linux-gnu"), filepath.Join(usr, program)}, args...)...)
}

// apt is an apt-get with a state of its own, in which nothing is installed, so
// that it fetches every library.
type apt struct{ dir, config, archives string }

func newApt(ctx context.Context, dir string) (apt, error) {
	a := apt{dir, filepath.Join(dir, "apt.conf"), filepath.Join(dir, "apt/cache/archives")}
	for _, sub := range []string{"apt/state/lists/partial", "apt/cache/archives/partial", "apt/etc/preferences.d"} {
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
	source := "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + site + " " + Release + " main\n"
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

func (a apt) unpack(ctx context.Context, s Set) error {
	if _, err := a.run(ctx, "apt-get", "update"); err != nil {
		return err
	}
	if _, err := a.run(ctx, "apt-get", "install", "--download-only", "-y", s.Package); err != nil {
		return err
	}
	if err := a.extract(ctx, filepath.Join(a.dir, s.Root)); err != nil || s.Meta == "" {
		return err
	}
	depends, err := a.run(ctx, "apt-cache", "depends", "--important", s.Meta)
	if err != nil {
		return err
	}
	_, image, found := strings.Cut(depends, "Depends: ")
	if !found {
		return fmt.Errorf("%s depends on nothing", s.Meta)
	}
	if _, err := a.run(ctx, "apt-get", "download", strings.Fields(image)[0]); err != nil {
		return err
	}
	return a.extract(ctx, filepath.Join(a.dir, s.Alone))
}

// extract unpacks below root what was fetched, and removes the packages.
func (a apt) extract(ctx context.Context, root string) error {
	packages, err := filepath.Glob(filepath.Join(a.archives, "*.deb"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, file := range packages {
		if _, err := a.run(ctx, "dpkg-deb", "--extract", file, root); err != nil {
			return err
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
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
