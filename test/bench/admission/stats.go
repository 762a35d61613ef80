package main

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/detnet/detnet/quantile"
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
	at := func(q float64) float64 { return milliseconds(quantile.Of(sorted, q)) }
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

// Comparison is what slices that took turns say about the webhook.
type Comparison struct {
	Kind    kind      `json:"kind"`
	Pairs   int       `json:"pairs"`   // of slices
	Creates int       `json:"creates"` // of each side
	Failed  int       `json:"failed"`  // of both
	Missed  int       `json:"unstamped"`
	Ignored Quantiles `json:"ignored_ms"`
	Served  Quantiles `json:"served_ms"`
	Added   Quantiles `json:"added_ms"`
	Ratio   Quantiles `json:"ratio"`
	// Low and High are the 95 % interval of Added: what would have come out had
	// other pairs been drawn from the same.
	Low  Quantiles `json:"added_low_ms"`
	High Quantiles `json:"added_high_ms"`
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
	c := Comparison{Kind: k, Pairs: len(pairs)}
	var plain, stamped, late []time.Duration
	var added [3][]float64
	for _, p := range pairs {
		plain, stamped = append(plain, p.ignored.took...), append(stamped, p.served.took...)
		late = append(append(late, p.ignored.late...), p.served.late...)
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
	c.Low, c.High = interval(pairs)
	for n := range added {
		slices.Sort(added[n])
	}
	c.Pairwise = Quantiles{quantile.Of(added[0], 0.5), quantile.Of(added[1], 0.5), quantile.Of(added[2], 0.5)}
	return c
}

// interval is the 95 % interval of the difference between the two sides'
// quantiles, by drawing pairs with replacement (the bootstrap of Efron 1979).
// Whole pairs are drawn and not creates: those of one moment are alike, and a
// thousand of them tell no more about the next moment than ten.
func interval(pairs []pair) (low, high Quantiles) {
	const draws = 400
	if len(pairs) == 0 {
		return low, high
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same figures from the same samples
	var p50, p90, p99 []float64
	for range draws {
		var plain, stamped []time.Duration
		for range pairs {
			p := pairs[random.IntN(len(pairs))]
			plain, stamped = append(plain, p.ignored.took...), append(stamped, p.served.took...)
		}
		d := quantiles(stamped).minus(quantiles(plain))
		p50, p90, p99 = append(p50, d.P50), append(p90, d.P90), append(p99, d.P99)
	}
	at := func(rank int) Quantiles { return Quantiles{p50[rank], p90[rank], p99[rank]} }
	slices.Sort(p50)
	slices.Sort(p90)
	slices.Sort(p99)
	return at(draws / 40), at(draws - 1 - draws/40)
}
