package keeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/cgroups"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// Sweep removes what instances left whose keepers were killed. The kernel ended
// their processes with the keeper; cgroups and state folders stay behind.
func Sweep(ctx context.Context, cache assets.Cache, hierarchies []cgroups.Hierarchy) error {
	names, err := instance.Names(cache)
	if err != nil {
		return fmt.Errorf("list earlier instances: %w", err)
	}
	var failed error
	for _, name := range names {
		err := sweepOne(ctx, cache, hierarchies, name)
		if err != nil && !errors.Is(err, instance.ErrRunning) {
			failed = errors.Join(failed, fmt.Errorf("instance %s: %w", name, err))
		}
	}
	return failed
}

func sweepOne(ctx context.Context, cache assets.Cache, hierarchies []cgroups.Hierarchy, name string) error {
	lock, err := instance.Lock(cache, name)
	if err != nil {
		return err
	}
	defer lock.Close()
	dead, err := instance.New(cache, name, 1, hierarchies)
	if err != nil {
		return err
	}
	return remove(ctx, dead)
}
