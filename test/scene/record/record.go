// Package record turns what was seen of a run, packets and limits with their
// times, into the figures of a report. It is pure: the same record gives the
// same figures.
package record

import (
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/sim/score"
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
	// Beside are packets from the workload's own node, which cross no link: the
	// control group. What is late here too is the machine's doing.
	Beside []Packet
}

// Base is the smallest round trip seen: delay variation is counted from it
// (PDV, RFC 5481 §4.2).
func (a App) Base() time.Duration { return base(a.Packets) }

func base(packets []Packet) time.Duration {
	base := time.Duration(math.MaxInt64)
	for _, p := range packets {
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
	// BesideRatio is the same share of the packets from the workload's own node.
	BesideRatio float64 `json:"beside_violation_ratio"`
}

// Summarise gives a's figures over the packets sent in [from, to).
func Summarise(a App, from, to time.Time) Critical {
	c := Critical{Name: a.Name, MaxJitter: ms(a.Target)}
	least := a.Base()
	var variation []time.Duration
	packets := between(a.Packets, from, to)
	for _, p := range packets {
		if p.Lost {
			c.Lost++
			continue
		}
		variation = append(variation, p.RTT-least)
	}
	slices.Sort(variation)
	c.Samples = len(packets)
	c.P50, c.P99, c.Worst = ms(quantile.Of(variation, 0.5)), ms(quantile.Of(variation, 0.99)), ms(quantile.Of(variation, 1))
	c.ViolationRatio = lateShare(packets, least, a.Target)
	c.BesideRatio = lateShare(between(a.Beside, from, to), base(a.Beside), a.Target)
	return c
}

// lateShare is the share of packets that violate a target; of none, 0.
func lateShare(packets []Packet, base, target time.Duration) float64 {
	late := 0
	for _, p := range packets {
		if violates(p, base, target) {
			late++
		}
	}
	return float64(late) / float64(max(1, len(packets)))
}

func violates(p Packet, base, target time.Duration) bool { return p.Lost || p.RTT-base > target }

// between returns the packets sent in [from, to).
func between(packets []Packet, from, to time.Time) []Packet {
	at := func(p Packet, t time.Time) int { return p.At.Compare(t) }
	i, _ := slices.BinarySearchFunc(packets, from, at)
	j, _ := slices.BinarySearchFunc(packets, to, at)
	return packets[i:max(i, j)]
}

func ms(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// CleanAfter returns the time from onset until every app is clean, as score.Clean
// has it. False if that never happened before end, or if nothing was measured.
func CleanAfter(apps []App, onset, end time.Time) (time.Duration, bool) {
	for _, a := range apps {
		if len(between(a.Packets, onset, end)) == 0 {
			return 0, false
		}
	}
	clean := score.Clean(append(Probes(apps, onset, end), controls(apps, onset, end)...), 0, end.Sub(onset))
	return max(clean, 0), clean >= 0
}

// Probes returns the packets sent in [from, to) as figures are computed of them,
// in time since from.
func Probes(apps []App, from, to time.Time) []score.Probe {
	var all []score.Probe
	for _, a := range apps {
		all = append(all, probes(a, a.Packets, from, to, false)...)
	}
	return all
}

// BesideShare is the share of late packets in [from, to) of those that crossed no
// network.
func BesideShare(apps []App, from, to time.Time) float64 {
	late, all := 0, 0
	for _, p := range controls(apps, from, to) {
		all++
		if p.Late {
			late++
		}
	}
	return float64(late) / float64(max(1, all))
}

// controls returns the packets from beside the apps.
func controls(apps []App, from, to time.Time) []score.Probe {
	var all []score.Probe
	for _, a := range apps {
		all = append(all, probes(a, a.Beside, from, to, true)...)
	}
	return all
}

func probes(a App, packets []Packet, from, to time.Time, control bool) (probes []score.Probe) {
	base := base(packets)
	for _, p := range between(packets, from, to) {
		probes = append(probes, score.Probe{App: a.Name, At: p.At.Sub(from), Late: violates(p, base, a.Target), Control: control})
	}
	return probes
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
