package main

import (
	"math"
	"slices"
	"time"
)

// Quantiles of durations, in milliseconds; of differences or ratios, too.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// quantiles are the nearest ranks; zero where there are no samples.
func quantiles(samples []time.Duration) Quantiles {
	if len(samples) == 0 {
		return Quantiles{}
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 {
		rank := int(math.Ceil(q * float64(len(sorted))))
		return milliseconds(sorted[max(rank, 1)-1])
	}
	return Quantiles{at(0.50), at(0.90), at(0.99)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (q Quantiles) minus(p Quantiles) Quantiles {
	return Quantiles{q.P50 - p.P50, q.P90 - p.P90, q.P99 - p.P99}
}

func (q Quantiles) over(p Quantiles) Quantiles {
	share := func(a, b float64) float64 {
		if b == 0 {
			return 0
		}
		return a / b
	}
	return Quantiles{share(q.P50, p.P50), share(q.P90, p.P90), share(q.P99, p.P99)}
}

func (q Quantiles) abs() Quantiles {
	return Quantiles{math.Abs(q.P50), math.Abs(q.P90), math.Abs(q.P99)}
}

// Comparison is what slices that took turns say about the webhook.
type Comparison struct {
	Kind    kind      `json:"kind"`
	Creates int       `json:"creates"` // of each side
	Failed  int       `json:"failed"`  // of both
	Missed  int       `json:"unstamped"`
	Ignored Quantiles `json:"ignored_ms"`
	Served  Quantiles `json:"served_ms"`
	Added   Quantiles `json:"added_ms"`
	Ratio   Quantiles `json:"ratio"`
	// Noise is how far the ignored namespace's even slices are from its odd
	// ones: a difference of this size says nothing.
	Noise Quantiles `json:"noise_ms"`
	// Pairwise is the median, over pairs of neighbouring slices, of what was
	// added: one bad moment of the machine doesn't move it.
	Pairwise Quantiles `json:"pairwise_added_ms"`
	// Late is how late the bench sent, against its own schedule.
	Late  Quantiles `json:"late_ms"`
	Parts Parts     `json:"parts"`
}

// slice is what was measured in one namespace in one go.
type slice struct {
	took, late      []time.Duration
	failed, missing int
}

// pair is two neighbouring slices.
type pair struct{ ignored, served slice }

func compare(k kind, pairs []pair) Comparison {
	c := Comparison{Kind: k}
	var plain, stamped, late []time.Duration
	var halves [2][]time.Duration
	var added [3][]float64
	for i, p := range pairs {
		plain, stamped = append(plain, p.ignored.took...), append(stamped, p.served.took...)
		late = append(append(late, p.ignored.late...), p.served.late...)
		halves[i%2] = append(halves[i%2], p.ignored.took...)
		c.Failed += p.ignored.failed + p.served.failed
		c.Missed += p.served.missing
		d := quantiles(p.served.took).minus(quantiles(p.ignored.took))
		for n, v := range []float64{d.P50, d.P90, d.P99} {
			added[n] = append(added[n], v)
		}
	}
	c.Creates = len(plain)
	c.Ignored, c.Served, c.Late = quantiles(plain), quantiles(stamped), quantiles(late)
	c.Added, c.Ratio = c.Served.minus(c.Ignored), c.Served.over(c.Ignored)
	c.Noise = quantiles(halves[0]).minus(quantiles(halves[1])).abs()
	c.Pairwise = Quantiles{median(added[0]), median(added[1]), median(added[2])}
	return c
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
