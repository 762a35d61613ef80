// Package assets builds what the sandbox starts (the Kubernetes control plane
// and node programs, containerd, CNI plugins, helm) from the Go module proxy
// into a cache outside the repository, once per version.
//
// The cache is $DETNET_CACHE, else detnet in the user's cache folder
// ($XDG_CACHE_HOME or ~/.cache):
//
//	bin/    links to the programs of the current versions: KUBEBUILDER_ASSETS
//	cni/    links to the CNI plugins
//	cilium/ one folder per release of Cilium's that was asked for: links to its programs and sources
//	tools/  one folder per upstream release and build recipe
//	images/ the pause image
//	run/    state of running instances, log/ their logs
package assets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/mod/semver"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/image"
)

// Cache is the folder that holds everything built.
type Cache string

// Which selects what Ensure makes sure of.
type Which int

const (
	// All is everything a sandbox needs.
	All Which = iota
	// APIServer is etcd, kube-apiserver and kubectl.
	APIServer
	// Cilium119 is Cilium's agent 1.19 with what it needs, and nothing else.
	Cilium119
	// Cilium120 is the same of 1.20.
	Cilium120
	// Prometheus is prometheus and promtool, in Bin or in the PATH.
	Prometheus
)

// PauseImage is the reference of the image that holds pods' namespaces.
const PauseImage = "detnet.local/pause:1"

// Open returns the cache named by DETNET_CACHE or by the user's cache folder.
func Open() (Cache, error) {
	if dir := os.Getenv("DETNET_CACHE"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("resolve DETNET_CACHE=%s: %w", dir, err)
		}
		return Cache(abs), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w; set DETNET_CACHE", err)
	}
	return Cache(filepath.Join(dir, "detnet")), nil
}

// Bin is the folder of programs; envtest takes it as KUBEBUILDER_ASSETS.
func (c Cache) Bin() string { return filepath.Join(string(c), "bin") }

// CNI is the folder of CNI plugins.
func (c Cache) CNI() string { return filepath.Join(string(c), "cni") }

// CiliumRelease reads "1.19" or "1.20".
func CiliumRelease(minor string) (Which, error) {
	for which, version := range ciliumVersions {
		if semver.MajorMinor(version) == "v"+minor {
			return which, nil
		}
	}
	return 0, fmt.Errorf("Cilium %q: want 1.19 or 1.20", minor)
}

// Cilium is the folder, of one of Cilium's releases, of cilium-agent, cilium-cni,
// cilium-dbg, bpf (the sources of its BPF programs) and crds (the manifests of its
// kinds).
func (c Cache) Cilium(which Which) string {
	return filepath.Join(string(c), "cilium", ciliumVersions[which])
}

// PauseArchive is the docker-archive of [PauseImage].
func (c Cache) PauseArchive() string { return filepath.Join(string(c), "images", "pause.tar") }

// Ensure builds what is missing. When nothing is, it costs a few dozen stat
// calls. Interrupted, it leaves finished programs and no half ones; two at once
// wait for each other.
func (c Cache) Ensure(ctx context.Context, log *slog.Logger, which Which) error {
	if which == Prometheus {
		return c.ensurePrometheus(ctx, log)
	}
	if err := ensureDistro(ctx, log, distroPrograms[which]); err != nil {
		return err
	}
	if c.complete(which) {
		return nil
	}
	unlock, err := c.lock(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()

	missing := c.missing(which) // another process may have built them meanwhile
	for i, m := range missing {
		if m.command.name == "pause" { // the image must not outlive its binary
			if err := os.Remove(c.PauseArchive()); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		log.Info("building", "program", m.command.name, "version", m.part.version, "step", i+1, "of", len(missing))
		if err := c.build(ctx, m.part, m.command); err != nil {
			return fmt.Errorf("build %s %s: %w", m.command.name, m.part.version, err)
		}
		if err := c.link(m.part, m.command); err != nil {
			return fmt.Errorf("link %s into the cache: %w", m.command.name, err)
		}
	}
	if c.complete(which) {
		return nil
	}
	return c.pauseImage()
}

func (c Cache) complete(which Which) bool {
	if len(c.missing(which)) > 0 {
		return false
	}
	_, err := os.Stat(c.PauseArchive())
	return err == nil || which != All
}

type missing struct {
	part    part
	command command
}

// missing lists the commands whose link does not lead to a binary of the
// current version.
func (c Cache) missing(which Which) []missing {
	var ms []missing
	for _, p := range parts() {
		for _, cmd := range p.commands {
			if !which.has(p, cmd) {
				continue
			}
			target, err := os.Readlink(c.linkPath(p, cmd))
			_, missingBinary := os.Stat(c.binary(p, cmd))
			if err != nil || missingBinary != nil || target != c.binary(p, cmd) {
				ms = append(ms, missing{p, cmd})
			}
		}
	}
	return ms
}

func (c Cache) binary(p part, cmd command) string {
	return filepath.Join(string(c), "tools", p.key(), cmd.name)
}

func (c Cache) linkPath(p part, cmd command) string {
	return filepath.Join(string(c), p.folder, cmd.name)
}

// link replaces the command's link in one step.
func (c Cache) link(p part, cmd command) error {
	path := c.linkPath(p, cmd)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(c.binary(p, cmd), temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// pauseImage wraps the pause binary.
func (c Cache) pauseImage() error {
	if err := os.MkdirAll(filepath.Dir(c.PauseArchive()), 0o755); err != nil {
		return err
	}
	pause, err := image.New(PauseImage, filepath.Join(c.Bin(), "pause"), runtime.GOARCH)
	if err != nil {
		return err
	}
	return image.Write(c.PauseArchive(), pause)
}

// lock takes the cache's lock, which the kernel drops with the process.
func (c Cache) lock(ctx context.Context, log *slog.Logger) (unlock func(), err error) {
	if err := os.MkdirAll(string(c), 0o755); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(string(c), "build.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		log.Info("waiting for another build to finish", "lock", f.Name())
		err = flockWithin(ctx, f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// flockWithin waits for the lock in a goroutine of its own, because flock(2)
// knows no deadline; if ctx ends first the file is closed once it returns.
func flockWithin(ctx context.Context, f *os.File) error {
	got := make(chan error, 1)
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	go func() {
		got <- unix.Flock(fd, unix.LOCK_EX)
		unix.Close(fd) // same open file: the lock lives as long as f
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
