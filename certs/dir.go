package certs

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/fsnotify/fsnotify"

	"github.com/detnet/detnet/internal/plainfile"
)

// Dir follows the certificate in a directory: tls.crt, tls.key and ca.crt, as a
// Secret of cert-manager is mounted.
type Dir struct {
	Current
	path string
}

// OpenDir reads the certificate in the directory once. Run keeps it fresh.
func OpenDir(dir string) (*Dir, error) {
	d := &Dir{path: dir}
	if err := d.read(); err != nil {
		return nil, err
	}
	return d, nil
}

// Run takes up each new certificate until ctx ends. One that is unreadable or
// half written is logged and the last good one stays in use.
func (d *Dir) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the certificate in %s: %w", d.path, err)
	}
	defer watcher.Close()
	// The directory and not the files: kubelet swaps the symlink ..data, after
	// which a watch on a file would still look at the old one.
	if err := watcher.Add(d.path); err != nil {
		return fmt.Errorf("watch the certificate in %s: %w", d.path, err)
	}
	d.refresh(ctx) // what changed between OpenDir and the watch
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-watcher.Events:
			if !open {
				return fmt.Errorf("watch the certificate in %s: the watch ended", d.path)
			}
			d.refresh(ctx)
		case err := <-watcher.Errors:
			// An overflow of the event queue: something changed, unknown what.
			slog.WarnContext(ctx, "certificate watch reported an error", "dir", d.path, "err", err)
			d.refresh(ctx)
		}
	}
}

func (d *Dir) refresh(ctx context.Context) {
	if err := d.read(); err != nil {
		slog.WarnContext(ctx, "keeping the last good certificate", "err", err)
	}
}

func (d *Dir) read() error {
	var content [3][]byte
	for i, name := range []string{CertFile, KeyFile, CAFile} {
		var err error
		if content[i], err = plainfile.Read(filepath.Join(d.path, name)); err != nil {
			return fmt.Errorf("read the certificate in %s: %w", d.path, err)
		}
	}
	if err := d.Set(content[0], content[1], content[2]); err != nil {
		return fmt.Errorf("read the certificate in %s: %w", d.path, err)
	}
	return nil
}
