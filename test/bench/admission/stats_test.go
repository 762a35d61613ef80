package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreNearestRanks(t *testing.T) {
	var samples []time.Duration
	for i := 100; i > 0; i-- {
		samples = append(samples, time.Duration(i)*time.Millisecond)
	}
	if got, want := quantiles(samples), (Quantiles{50, 90, 99}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if samples[0] != 100*time.Millisecond {
		t.Error("the samples were reordered")
	}
	if got := quantiles(samples[:1]); got != (Quantiles{100, 100, 100}) {
		t.Errorf("of one sample: %v", got)
	}
	if got := quantiles(nil); got != (Quantiles{}) {
		t.Errorf("of none: %v", got)
	}
}

func TestCompare(t *testing.T) {
	of := func(d time.Duration) slice {
		return slice{took: slices.Repeat([]time.Duration{d}, 10), late: make([]time.Duration, 10)}
	}
	ms := time.Millisecond
	bad := of(6 * ms)
	bad.failed, bad.missing = 1, 2
	c := compare(dryRun, []pair{{of(2 * ms), of(5 * ms)}, {of(4 * ms), bad}, {of(2 * ms), of(50 * ms)}})
	if c.Creates != 30 || c.Failed != 1 || c.Missed != 2 {
		t.Errorf("counts: %+v", c)
	}
	if c.Ignored.P50 != 2 || c.Served.P50 != 6 || c.Added.P50 != 4 || c.Ratio.P50 != 3 {
		t.Errorf("medians: %+v", c)
	}
	if c.Pairwise.P50 != 3 {
		t.Errorf("one bad pair moved the median of pairs: %v", c.Pairwise)
	}
	if c.Low.P50 > c.Added.P50 || c.High.P50 < c.Added.P50 || c.High.P50 < 40 {
		t.Errorf("interval %v to %v, want one around %v that has the bad pair in it", c.Low, c.High, c.Added)
	}
}

// Pairs that agree leave no doubt, however their slices differ from each other.
func TestIntervalIsOfPairs(t *testing.T) {
	var pairs []pair
	for i := range 12 {
		d := time.Duration(i%3+1) * time.Millisecond
		pairs = append(pairs, pair{
			ignored: slice{took: slices.Repeat([]time.Duration{2 * time.Millisecond}, 50)},
			served:  slice{took: slices.Repeat([]time.Duration{2*time.Millisecond + d}, 50)},
		})
	}
	low, high := interval(pairs)
	if low.P50 < 1 || high.P50 > 3 || low.P50 > 2 || high.P50 < 2 {
		t.Errorf("interval %v to %v, want it around 2 ms and from 1 to 3", low, high)
	}
	for want, bar := range map[string]float64{"met": 4, "MISSED": 0.5, "undecided": 2} {
		if got := (Comparison{Pairs: fewPairs}).met(1, 3, bar); !strings.HasPrefix(got, want) {
			t.Errorf("an interval from 1 to 3 and a bar of %v: %s", bar, got)
		}
	}
	if got := (Comparison{Pairs: 2}).met(1, 3, 4); !strings.HasPrefix(got, "undecided") {
		t.Errorf("two pairs decide: %s", got)
	}
}

const exposition = `# HELP detnet_webhook_duration_seconds Time from a decoded pod to its patch.
# TYPE detnet_webhook_duration_seconds histogram
detnet_webhook_duration_seconds_bucket{le="0.0001"} 50
detnet_webhook_duration_seconds_bucket{le="0.0002"} 90
detnet_webhook_duration_seconds_bucket{le="0.0004"} 100
detnet_webhook_duration_seconds_bucket{le="+Inf"} 100
detnet_webhook_duration_seconds_sum 0.01
detnet_webhook_duration_seconds_count 100
process_cpu_seconds_total 1.5
`

func TestPartsAreDifferencesOfCounters(t *testing.T) {
	read := func(text string) map[string]float64 {
		sums := map[string]float64{}
		if err := series(strings.NewReader(text), func(name, labels string, value float64) { sums[name+labels] += value }); err != nil {
			t.Fatal(err)
		}
		return sums
	}
	before := figures{calls: 10, waited: 1, work: map[string]float64{cpuSeries: 1}}
	after := figures{calls: 110, waited: 1.2, work: read(exposition)}
	p := after.since(before)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("calls", float64(p.Calls), 100)
	near("waited", p.Waited, 2)
	near("worked", p.Worked, 0.1)
	near("CPU", p.CPU, 5)
	near("p50", p.WorkedAt.P50, 0.1)
	near("p90", p.WorkedAt.P90, 0.2)
	near("p99", p.WorkedAt.P99, 0.38)
	if err := series(strings.NewReader("broken x\n"), func(string, string, float64) {}); err == nil {
		t.Error("a broken line was taken")
	}
}
