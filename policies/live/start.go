package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/detnet/detnet/policies"
)

// Start is the engine that a program begins with.
type Start struct {
	Engine *policies.Engine
	// Instead says what is in force in the place of the site's policy, and Why; ""
	// and nil if it is that itself.
	Instead string
	Why     error
	// last is the hash of what was tried, untried if it is to be tried again.
	last string
}

// What can be in force in the place of the site's policy.
const (
	lastGood   = "last good set"
	defaultSet = "default set"
)

// source is where the site's policy comes from.
type source interface {
	// read returns its files.
	read(ctx context.Context) (policies.Set, error)
	// keep keeps those last read, which are in force, and kept reads them;
	// os.ErrNotExist where there are none.
	keep() error
	kept() (policies.Set, error)
}

// start loads the site's policy. If that can't be had, or is refused, the one that was last in
// force stands in, and where none was kept, the default set, if withDefault says so: no
// webhook at all would leave all pods unstamped.
func start(ctx context.Context, from source, withDefault bool, log *slog.Logger) (Start, error) {
	last := untried
	site, why := from.read(ctx)
	if why == nil {
		set := site.Over(policies.Default())
		var engine *policies.Engine
		if engine, why = policies.Load(ctx, set); why == nil {
			keepOrWarn(from, log)
			return Start{Engine: engine, last: engine.Hash()}, nil
		}
		if !errors.Is(why, policies.ErrSlow) {
			last = set.Hash()
		}
	}
	if ctx.Err() != nil {
		return Start{}, why
	}
	site, err := from.kept()
	if err == nil {
		var engine *policies.Engine
		if engine, err = policies.Load(ctx, site.Over(policies.Default())); err == nil {
			return Start{engine, lastGood, why, last}, nil
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		why = fmt.Errorf("%w; and what was kept can't stand in: %w", why, err)
	}
	if !withDefault {
		return Start{}, why
	}
	engine, err := policies.Load(ctx, policies.Default())
	return Start{engine, defaultSet, why, last}, err
}

// keepOrWarn goes on without: what is in force is so all the same.
func keepOrWarn(s source, log *slog.Logger) {
	if err := s.keep(); err != nil {
		log.Warn("the next start can't fall back to this policy", "err", err)
	}
}
