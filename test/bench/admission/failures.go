package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Failures is what became of creates under disturbance.
type Failures struct {
	During    string         `json:"during"`
	Events    map[string]int `json:"events"`
	Creates   int            `json:"creates"`
	Kept      int            `json:"kept"` // of those; the others are dry runs
	Failed    int            `json:"failed"`
	Unstamped int            `json:"unstamped"`
	// Policies is how many different policy sets decided.
	Policies int       `json:"policies"`
	Took     Quantiles `json:"took_ms"`
	Longest  float64   `json:"longest_ms"`
	Errors   []string  `json:"errors,omitempty"` // the first few
}

// keepEvery: of so many creates one is kept, the others are dry runs.
const keepEvery = 10

const workers = 8

// countFailures creates pods under each disturbance and under all together.
func (b *bench) countFailures(ctx context.Context, o options) ([]Failures, error) {
	var phases [][]disturbance
	for _, d := range disturbances {
		if o.wants(d.name) {
			phases = append(phases, []disturbance{d})
		}
	}
	if o.wants(partTogether) {
		phases = append(phases, disturbances)
	}
	var out []Failures
	for _, during := range phases {
		f, err := b.endure(ctx, o, during)
		if err != nil {
			return nil, err
		}
		fmt.Printf("%s: %d of %d creates failed, %d unstamped\n", f.During, f.Failed, f.Creates, f.Unstamped)
		out = append(out, f)
		if err := b.sweep(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// endure creates at least o.creates pods, and goes on until each disturbance
// has happened o.events times.
func (b *bench) endure(ctx context.Context, o options, during []disturbance) (Failures, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var enough atomic.Bool
	counts := make([]atomic.Int64, len(during))
	for i, d := range during {
		group.Go(func() error { return b.disturb(ctx, d, &counts[i], &enough) })
	}
	lived := func() bool {
		for i := range counts {
			if counts[i].Load() < int64(o.events) {
				return false
			}
		}
		return true
	}
	t := tally{policies: map[string]bool{}}
	group.Go(func() error {
		defer enough.Store(true)
		return b.createUntil(ctx, o.rate, &t, func(sent int) bool { return sent >= o.creates && lived() })
	})
	if err := group.Wait(); err != nil {
		return Failures{}, err
	}
	f := t.failures()
	f.During, f.Events = partTogether, map[string]int{}
	if len(during) == 1 {
		f.During = during[0].name
	}
	for i, d := range during {
		f.Events[d.name] = int(counts[i].Load())
	}
	return f, nil
}

// disturb repeats d, and ends the last one, until it is enough.
func (b *bench) disturb(ctx context.Context, d disturbance, count *atomic.Int64, enough *atomic.Bool) error {
	for n := 0; !enough.Load(); n++ {
		next := time.Now().Add(d.every)
		if err := d.once(ctx, b, n); err != nil {
			return err
		}
		count.Add(1)
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}

// createUntil has workers create pods at no more than rate a second.
func (b *bench) createUntil(ctx context.Context, rate int, t *tally, done func(sent int) bool) error {
	due := make(chan kind)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for k := range due {
				t.add(k, b.create(ctx, served, k))
			}
		})
	}
	defer group.Wait()
	defer close(due)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for sent := 0; !done(sent); sent++ {
		k := dryRun
		if sent%keepEvery == 0 {
			k = kept
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			due <- k
		}
	}
	return nil
}

// tally counts outcomes.
type tally struct {
	mu                      sync.Mutex
	took                    []time.Duration
	longest                 time.Duration
	kept, failed, unstamped int
	policies                map[string]bool
	errors                  []string
}

func (t *tally) add(k kind, o outcome) {
	const shown = 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, o.took)
	t.longest = max(t.longest, o.took)
	if k == kept {
		t.kept++
	}
	switch {
	case o.err != nil:
		t.failed++
		if len(t.errors) < shown {
			t.errors = append(t.errors, o.err.Error())
		}
	case !o.stamped:
		t.unstamped++
	default:
		t.policies[o.policy] = true
	}
}

func (t *tally) failures() Failures {
	return Failures{
		Creates: len(t.took), Kept: t.kept, Failed: t.failed, Unstamped: t.unstamped, Policies: len(t.policies),
		Took: quantiles(t.took), Longest: milliseconds(t.longest), Errors: t.errors,
	}
}
