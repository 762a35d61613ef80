package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/detnet/detnet/policies"
)

// Start is the engine that a program begins with.
type Start struct {
	Engine *policies.Engine
	// Instead says what is in force in the bundle's place, and Why; "" and nil if
	// it is the bundle that the server has.
	Instead string
	Why     error
}

// What can be in force in the place of the server's bundle.
const (
	keptBundle = "last good bundle"
	defaultSet = "default set"
)

// startPatience is how long a start waits for the server of the bundle.
const startPatience = 10 * time.Second

// Start loads what the server has. If it is away, or what it has is refused, the
// bundle that was last in force stands in, and where none was kept, the default
// set, if withDefault says so: no webhook at all would leave all pods unstamped.
func (b *Bundle) Start(ctx context.Context, withDefault bool, log *slog.Logger) (Start, error) {
	bounded, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	set, why := b.Fetch(bounded)
	if why == nil {
		var engine *policies.Engine
		if engine, why = policies.Load(ctx, set.Over(policies.Default())); why == nil {
			b.keepOrWarn(log)
			return Start{Engine: engine}, nil
		}
		if errors.Is(why, policies.ErrSlow) {
			b.etag = ""
		}
	}
	if ctx.Err() != nil {
		return Start{}, why
	}
	set, err := b.kept()
	if err == nil {
		var engine *policies.Engine
		if engine, err = policies.Load(ctx, set.Over(policies.Default())); err == nil {
			return Start{engine, keptBundle, why}, nil
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		why = fmt.Errorf("%w; and the bundle kept in %s can't stand in: %w", why, b.keepIn, err)
	}
	if !withDefault {
		return Start{}, why
	}
	engine, err := policies.Load(ctx, policies.Default())
	return Start{engine, defaultSet, why}, err
}

// keptName is the file of the bundle last in force.
const keptName = "bundle.tar.gz"

// KeepIn has the bundle in force written to a directory of this program's own. It
// is for the time before Start.
func (b *Bundle) KeepIn(dir string) *Bundle {
	b.keepIn = dir
	return b
}

// keep writes the bundle that was fetched last, as the server signed it.
func (b *Bundle) keep() error {
	if b.keepIn == "" || b.raw == nil {
		return nil
	}
	f, err := os.CreateTemp(b.keepIn, keptName+".*")
	if err != nil {
		return fmt.Errorf("keep the policy bundle: %w", err)
	}
	_, err = f.Write(b.raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(b.keepIn, keptName))
	}
	if err != nil {
		return fmt.Errorf("keep the policy bundle: %w", errors.Join(err, os.Remove(f.Name())))
	}
	b.raw = nil
	return nil
}

// keepOrWarn goes on without: the bundle is in force all the same.
func (b *Bundle) keepOrWarn(log *slog.Logger) {
	if err := b.keep(); err != nil {
		log.Warn("the next start can't fall back to this bundle", "err", err)
	}
}

// kept reads the bundle that was last in force. Its signature is verified as if
// it came from the server: a disk proves nothing.
func (b *Bundle) kept() (policies.Set, error) {
	if b.keepIn == "" {
		return nil, os.ErrNotExist
	}
	f, err := os.Open(filepath.Join(b.keepIn, keptName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("read the bundle that was kept: %w", err)
	}
	return b.read(raw)
}
