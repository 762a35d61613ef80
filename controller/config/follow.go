package config

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"
)

// File is a configuration file that may change.
type File struct {
	path string
	base Config
	text []byte // last seen
}

// Open reads the file at path; what it leaves out is as in base.
func Open(path string, base Config) (*File, Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Config{}, fmt.Errorf("read configuration: %w", err)
	}
	f := &File{path, base, text}
	c, err := f.parse()
	return f, c, err
}

func (f *File) parse() (Config, error) {
	c, err := Parse(f.text, f.base)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", f.path, err)
	}
	return c, nil
}

// interval of looking at the file. It is read, not watched: a mounted ConfigMap
// changes by a swap of symlinks, and is a minute late anyway.
const interval = 2 * time.Second

// Follow calls changed with each new content until ctx ends. A content that
// can't be used is passed on once, as an error: whoever holds the configuration
// keeps the last good one.
func (f *File) Follow(ctx context.Context, changed func(Config, error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text, err := os.ReadFile(f.path)
		if err != nil || bytes.Equal(text, f.text) {
			continue // unreadable: between two mounts
		}
		f.text = text
		changed(f.parse())
	}
}
