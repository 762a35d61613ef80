// Package record turns what was seen of a run, packets and limits with their
// times, into the figures of a report. It is pure: the same record gives the
// same figures.
package record

import (
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Packet is one probe packet of the instrument.
type Packet struct {
	At   time.Time // when it was sent
	RTT  time.Duration
	Lost bool
}

// LimitChange is a change of a pod's egress limit as the API server told it.
type LimitChange struct {
	At       time.Time
	Pod      string
	From, To bitrate.Rate // 0: no limit
}

// App is a critical workload: its target and all that was measured of it.
type App struct {
	Name    string
	Target  time.Duration // bound on delay variation
	Packets []Packet      // in order of At
}

// Base is the smallest round trip seen: delay variation is counted from it
// (PDV, RFC 5481 §4.2).
func (a App) Base() time.Duration {
	base := time.Duration(math.MaxInt64)
	for _, p := range a.Packets {
		if !p.Lost {
			base = min(base, p.RTT)
		}
	}
	return base
}

// Critical is one workload's figures over one phase. Durations are milliseconds
// of delay variation; MaxJitter is the workload's target.
type Critical struct {
	Name           string  `json:"name"`
	Samples        int     `json:"samples"`
	Lost           int     `json:"lost"`
	P50            float64 `json:"p50_ms"`
	P99            float64 `json:"p99_ms"`
	Worst          float64 `json:"worst_ms"`
	MaxJitter      float64 `json:"max_jitter_ms"`
	ViolationRatio float64 `json:"violation_ratio"`
}

// Summarise gives a's figures over the packets sent in [from, to).
func Summarise(a App, from, to time.Time) Critical {
	c := Critical{Name: a.Name, MaxJitter: ms(a.Target)}
	base := a.Base()
	var variation []time.Duration
	violations := 0
	for _, p := range between(a.Packets, from, to) {
		c.Samples++
		if violates(p, base, a.Target) {
			violations++
		}
		if p.Lost {
			c.Lost++
			continue
		}
		variation = append(variation, p.RTT-base)
	}
	slices.Sort(variation)
	c.P50, c.P99, c.Worst = ms(quantile(variation, 0.5)), ms(quantile(variation, 0.99)), ms(quantile(variation, 1))
	if c.Samples > 0 {
		c.ViolationRatio = float64(violations) / float64(c.Samples)
	}
	return c
}

func violates(p Packet, base, target time.Duration) bool { return p.Lost || p.RTT-base > target }

// between returns the packets sent in [from, to).
func between(packets []Packet, from, to time.Time) []Packet {
	at := func(p Packet, t time.Time) int { return p.At.Compare(t) }
	i, _ := slices.BinarySearchFunc(packets, from, at)
	j, _ := slices.BinarySearchFunc(packets, to, at)
	return packets[i:max(i, j)]
}

// quantile is the nearest-rank quantile of sorted values; 0 where there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[max(rank, 0)]
}

func ms(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// A run is clean from the first instant after which a window of CleanWindow
// holds less than CleanShare of violations for every workload.
const (
	CleanWindow = 2 * time.Second
	CleanShare  = 0.05
)

// CleanAfter returns the time from onset until every app is clean. False if
// that never happened before end, or if nothing was measured.
func CleanAfter(apps []App, onset, end time.Time) (time.Duration, bool) {
	const step = 50 * time.Millisecond
	for at := onset; !at.Add(CleanWindow).After(end); at = at.Add(step) {
		if allClean(apps, at) {
			return at.Sub(onset), true
		}
	}
	return 0, false
}

func allClean(apps []App, at time.Time) bool {
	for _, a := range apps {
		c := Summarise(a, at, at.Add(CleanWindow))
		if c.Samples == 0 || c.ViolationRatio >= CleanShare {
			return false
		}
	}
	return len(apps) > 0
}

// FirstEffectiveCut returns the time from onset to the first change that put a
// limit below what the pod was sending, as usage tells it.
func FirstEffectiveCut(changes []LimitChange, onset time.Time, usage func(pod string) bitrate.Rate) (time.Duration, bool) {
	for _, c := range changes {
		cut := c.To != 0 && (c.From == 0 || c.To < c.From)
		if c.At.After(onset) && cut && c.To < usage(c.Pod) {
			return c.At.Sub(onset), true
		}
	}
	return 0, false
}

// SortedByTime returns packets in the order of sending.
func SortedByTime(packets []Packet) []Packet {
	sorted := slices.Clone(packets)
	slices.SortStableFunc(sorted, func(a, b Packet) int { return a.At.Compare(b.At) })
	return sorted
}

// Jain is the fairness index of equal claims (Jain, Chiu, Hawe 1984): 1 where
// all get the same, 1/n where one gets everything, 0 where nobody gets any.
func Jain(got []float64) float64 {
	var sum, squares float64
	for _, x := range got {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(got)) * squares)
}
