package live

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/detnet/detnet/policies"
)

// Dir is a directory of policy files, such as a mounted ConfigMap.
type Dir struct {
	path   string
	last   policies.Set // its files as last read or taken, without the default ones
	keeper keeper
}

// NewDir returns the directory at path. Its last good set is kept in another one, of this
// program's own; "" keeps none.
func NewDir(path, keepIn string) (*Dir, error) {
	if about, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("policy directory: %w", err)
	} else if !about.IsDir() {
		return nil, fmt.Errorf("policy directory: %s is none: want a directory of *.rego and *.yaml files", path)
	}
	return &Dir{path: path, keeper: keeper{keepIn, "files.json"}}, nil
}

// Start loads what is in the directory, or has something stand in.
func (d *Dir) Start(ctx context.Context, withDefault bool, log *slog.Logger) (Start, error) {
	return start(ctx, d, withDefault, log)
}

// Follow puts in force what is in the directory whenever it changes, until ctx ends. Refused is
// told why a set was not taken.
func (d *Dir) Follow(ctx context.Context, begun Start, active *Active, log *slog.Logger, refused func(error)) error {
	return followDir(ctx, d.path, begun.last, keeping{active, d}, log, refused)
}

// keeping is an Active of which the site's good files are kept.
type keeping struct {
	*Active
	dir *Dir
}

func (k keeping) take(ctx context.Context, site policies.Set, log *slog.Logger, refused func(error), last string) string {
	last = k.Active.take(ctx, site, log, refused, last)
	if k.hasInForce(site) {
		k.dir.last = site
		keepOrWarn(k.dir, log)
	}
	return last
}

func (d *Dir) read(context.Context) (set policies.Set, err error) {
	d.last, err = policies.ReadDir(d.path)
	return d.last, err
}

func (d *Dir) keep() error {
	raw, err := json.Marshal(d.last)
	if err != nil {
		return fmt.Errorf("keep the policy: %w", err)
	}
	if len(raw) > maxKept {
		return fmt.Errorf("keep the policy: the files of %s take more than %d MiB: leave out data that no rule reads", d.path, maxKept>>20)
	}
	return d.keeper.write(raw)
}

// maxKept bounds what is kept, in bytes. A full ConfigMap, of 1 MiB, is 6 MiB as JSON at most, and
// the chart's emptyDir holds two of maxKept: one is being written while the one before is there.
const maxKept = 12 << 20

func (d *Dir) kept() (set policies.Set, err error) {
	raw, err := d.keeper.read(maxKept)
	if err == nil {
		err = json.Unmarshal(raw, &set)
	}
	return set, err
}
