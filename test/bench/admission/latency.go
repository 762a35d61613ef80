package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// measureLatency creates pods at a constant rate, in slices that take turns
// between the two namespaces.
func (b *bench) measureLatency(ctx context.Context, o options) ([]Comparison, error) {
	for _, namespace := range []string{ignored, served} { // connections, caches, the first Cilium policy
		if _, err := b.play(ctx, namespace, kept, o.rate, 2*time.Second); err != nil {
			return nil, err
		}
	}
	var out []Comparison
	for _, m := range []struct {
		kind  kind
		pairs int
	}{{dryRun, o.dryRuns}, {kept, o.reals}} {
		if m.pairs == 0 {
			continue
		}
		c, err := b.compareKind(ctx, m.kind, m.pairs, o)
		if err != nil {
			return nil, fmt.Errorf("%s creates: %w", m.kind, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func (b *bench) compareKind(ctx context.Context, k kind, n int, o options) (Comparison, error) {
	before, err := b.snapshot(ctx)
	if err != nil {
		return Comparison{}, err
	}
	pairs := make([]pair, n)
	for i := range pairs {
		if err := b.sweep(ctx); err != nil {
			return Comparison{}, err
		}
		if err := pause(ctx, time.Second); err != nil { // what the deletion set off
			return Comparison{}, err
		}
		sides := []struct {
			namespace string
			to        *slice
		}{{ignored, &pairs[i].ignored}, {served, &pairs[i].served}}
		if i%2 == 1 { // whoever comes second is not always the same
			sides[0], sides[1] = sides[1], sides[0]
		}
		for _, side := range sides {
			if *side.to, err = b.play(ctx, side.namespace, k, o.rate, o.slice); err != nil {
				return Comparison{}, err
			}
		}
		fmt.Printf("%s, pair %d of %d: %s\n", k, i+1, n, quantiles(pairs[i].served.took).minus(quantiles(pairs[i].ignored.took)))
	}
	after, err := b.snapshot(ctx)
	if err != nil {
		return Comparison{}, err
	}
	c := compare(k, pairs)
	c.Parts = after.since(before)
	return c, b.sweep(ctx)
}

// play creates pods for d in an open loop: each is sent at its time, whatever
// became of those before it.
func (b *bench) play(ctx context.Context, namespace string, k kind, rate int, d time.Duration) (slice, error) {
	n := int(d.Seconds() * float64(rate))
	outcomes := make([]outcome, n)
	late := make([]time.Duration, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if err := pause(ctx, time.Until(due)); err != nil {
			break
		}
		wg.Go(func() {
			late[i] = time.Since(due)
			outcomes[i] = b.create(ctx, namespace, k)
		})
	}
	wg.Wait()
	s := slice{late: late}
	for _, o := range outcomes {
		switch {
		case o.err != nil:
			s.failed++
		case namespace == served && !o.stamped:
			s.missing++
		}
		s.took = append(s.took, o.took)
	}
	return s, ctx.Err()
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
