package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/assets"
)

// ErrRunning reports that another process keeps an instance of that name.
var ErrRunning = errors.New("a sandbox of that name is running")

// Lock makes the calling process the keeper of the instance until the returned
// file is closed or the process dies, however it dies.
func Lock(cache assets.Cache, name string) (*os.File, error) {
	path := filepath.Join(string(cache), "run", name+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of running instances: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the instance's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrRunning, name)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// Names lists the instances that left a trace in the cache, running or not.
func Names(cache assets.Cache) ([]string, error) {
	locks, err := filepath.Glob(filepath.Join(string(cache), "run", "*.lock"))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(locks))
	for i, l := range locks {
		names[i] = strings.TrimSuffix(filepath.Base(l), ".lock")
	}
	return names, nil
}

// Kept reports whether a living process keeps the instance.
func (s *Spec) Kept() bool {
	lock, err := Lock(s.Cache, s.Name)
	if err != nil {
		return errors.Is(err, ErrRunning)
	}
	lock.Close()
	return false
}
