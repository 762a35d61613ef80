package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/detnet/detnet/policies"
)

// taker tries the site's files, laid over the default set, unless that was the last set tried,
// reports what came of it and returns its hash, or untried; Active and Shadow do.
type taker interface {
	take(ctx context.Context, site policies.Set, log *slog.Logger, refused func(error), last string) string
}

// untried stands for the hash of a set that is to be tried again: it took too long, which a
// machine that stood still or has no time makes any set do.
const untried = ""

// How soon a set is tried again at first, and at most: one that takes too long always does not
// keep a processor from the others.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// followDir has a taker take what is in dir whenever it changes, until ctx
// ends; last is the hash of what it took before. A mounted ConfigMap changes by one rename
// of its ..data symbolic link; a burst of changes is one reload. Refused is told
// why a set was not taken; the one before stays. One that took too long is tried again.
func followDir(ctx context.Context, dir, last string, to taker, log *slog.Logger, refused func(error)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch policy directory: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(dir); err != nil {
		return fmt.Errorf("watch policy directory %s: %w", dir, err)
	}
	const settle = 100 * time.Millisecond
	timer := time.NewTimer(0) // what changed before the watch began
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			log.Warn("watching the policy directory", "dir", dir, "err", err)
			timer.Reset(settle)
		case <-watcher.Events:
			timer.Reset(settle)
		case <-timer.C:
			if last = followOnce(ctx, dir, to, log, refused, last); last != untried {
				retry = firstRetry
				continue
			}
			timer.Reset(retry)
			retry = min(2*retry, lastRetry)
		}
	}
}

// followOnce reads and reloads once, and returns the hash it tried, so that a
// refused set is reported once, or untried.
func followOnce(ctx context.Context, dir string, to taker, log *slog.Logger, refused func(error), last string) string {
	site, err := policies.ReadDir(dir)
	if err != nil {
		log.Warn("policy directory is unreadable; the set in force stays", "dir", dir, "err", err)
		return untried
	}
	return to.take(ctx, site, log, refused, last)
}

func (a *Active) take(ctx context.Context, site policies.Set, log *slog.Logger, refused func(error), last string) string {
	set := site.Over(policies.Default())
	hash := set.Hash()
	if hash == last && hash != a.Engine().Hash() {
		return last // refused before
	}
	changed, of, err := a.reload(ctx, set, time.Now())
	switch {
	case errors.Is(err, errUnchanged):
	case ctx.Err() != nil:
		return last // it ends: nothing is wrong with the set
	case err != nil:
		a.refuse(err)
		log.Error("policy set refused; the last good one stays", "refused", hash, "active", a.Engine().Hash(), "err", err)
		refused(err)
		if errors.Is(err, policies.ErrSlow) {
			return untried
		}
	default:
		log.Info("policy set in force", "hash", hash, "recent_pods", of, "decided_otherwise", changed)
	}
	return hash
}
