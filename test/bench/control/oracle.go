package main

import (
	"context"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
)

// The oracle is the largest static budget, in steps of a hundredth of the
// capacity, under which at most oracleViolation of the probes are late.
const (
	oracleViolation = 0.01
	oracleMost      = 0.98
	oracleLeast     = 0.85
	oracleStep      = 0.01
	oracleTrial     = 8 * time.Second
	oracleRuns      = 3 // at the most
)

// budgets are the shares of capacity to try, the largest first.
func budgets() (shares []float64) {
	for share := oracleMost; share >= oracleLeast; share -= oracleStep {
		shares = append(shares, share)
	}
	return shares
}

// bestStatic finds the oracle of a world: the first of the budgets with which a
// short trial succeeds, then the first from there on with which the whole run
// does; where the machine is too busy for any, the one with the fewest late. A
// trial's second try makes up for a moment in which the machine was busy: late
// packets of a queue come again.
func (b *bench) bestStatic(ctx context.Context, c contender, w world) (play, []bitrate.Rate, error) {
	divide := equal
	if c.name == uneven {
		divide = w.uneven
	}
	w.tail = false
	steady := w
	steady.shifts = nil
	shares := budgets()
	for len(shares) > 1 {
		late := 1.0
		for try := 0; try < 2 && late > oracleViolation && (try == 0 || late < 5*oracleViolation); try++ {
			if _, err := b.limit(ctx, w, divide, shares[0], 1); err != nil {
				return play{}, nil, err
			}
			p, err := b.perform(ctx, "trial", steady, oracleTrial)
			if err != nil {
				return play{}, nil, err
			}
			late = p.settled(time.Second)
		}
		if late <= oracleViolation {
			break
		}
		shares = shares[1:]
	}
	var best play
	var limits []bitrate.Rate
	for n := 0; n < min(oracleRuns, len(shares)); n++ {
		now, err := b.limit(ctx, w, divide, shares[n], w.least())
		if err != nil {
			return play{}, nil, err
		}
		p, err := b.perform(ctx, c.name, w, c.length(w))
		if err != nil {
			return play{}, nil, err
		}
		if n == 0 || p.settled(0) < best.settled(0) {
			best, limits = p, now
		}
		if p.settled(0) <= oracleViolation {
			break
		}
	}
	return best, limits, nil
}

// inForce is when a limit written is surely that of the kernel.
const inForce = time.Second

// limit writes the limits that a share of the capacity comes to.
func (b *bench) limit(ctx context.Context, w world, divide func(budget, capacity bitrate.Rate) []bitrate.Rate, share, least float64) ([]bitrate.Rate, error) {
	limits := divide(bitrate.FromMbit(share*least*capacity.Mbit()), capacity)
	for i, sender := range scene.Senders {
		limits[i] = limits[i].Quantise()
		if err := b.scene.SetLimit(ctx, sender, limits[i]); err != nil {
			return nil, fmt.Errorf("try limits for world %s: %w", w.name, err)
		}
	}
	return limits, wait(ctx, inForce)
}
