// Package score says how well a run was controlled: each figure has its one
// definition here, be the run simulated or made on real queues. It is pure.
package score

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Settling is how long a law is given after the onset before its steady state
// is measured.
const Settling = 10 * time.Second

// Run is what the figures are computed of. Times count from the run's start.
type Run struct {
	Onset, End time.Duration // of the load
	Until      time.Duration // when probes cease to count; End or later
	Senders    []Sender
	Probes     []Probe
	Points     []Point         // in order of At, evenly spaced between Onset and End
	Writes     []time.Duration // when a limit was written
	Freed      []Span          // where capacity became usable again
}

// Sender is a best-effort pod.
type Sender struct {
	Group        string // of those that are to share by weight
	Weight       int    // 0: 1
	Greedy       bool   // takes what it gets while it offers anything
	Uncontrolled bool   // cross traffic: no figure is about it
	Aside        bool   // does not send over the uplink of which Room tells
}

// Probe is one probe packet of an app.
type Probe struct {
	App  string
	At   time.Duration
	Late bool // beyond the app's target, or lost
	// Control is of a probe that crossed no network: Clean takes the lateness of
	// these off the others', for it is the machine's.
	Control bool
}

// Point is a short stretch of the run that ends at At. Slices are in the order
// of the senders.
type Point struct {
	At      time.Duration
	Limits  []bitrate.Rate // in force; 0: none
	Goodput []bitrate.Rate // delivered
	Offered []bitrate.Rate // what the sender would like; 0: it is silent
	Waiting []bitrate.Rate // what was held back before, as a rate over the stretch
	Room    bitrate.Rate   // capacity of the uplink
}

// Span is a part of the run.
type Span struct{ From, To time.Duration }

// Figures is what a run was worth. A time of -1 means never.
type Figures struct {
	Probes    int           `json:"probes"`                  // from onset on
	Late      int           `json:"late"`                    // of those: beyond their app's target, or lost
	Violation float64       `json:"violation_ratio"`         // Late of Probes
	Settled   float64       `json:"violation_ratio_settled"` // of the probes from 2 s after onset
	Goodput   bitrate.Rate  `json:"goodput_bps"`             // of the controlled senders, from onset to end
	Clean     time.Duration `json:"clean_ns"`                // after onset
	Recovery  time.Duration `json:"recovery_ns"`             // after capacity came back; 0 where none did
	Filled    float64       `json:"filled_ratio"`            // of what would go through, delivered at the end of the first ten calm seconds; -1: none were
	Jain      float64       `json:"jain"`
	PatchRate float64       `json:"patches_per_pod_5s"` // from Settling after onset to end
}

// Of measures a run.
func Of(r Run) Figures {
	f := Figures{
		Goodput:   r.goodput(),
		Clean:     Clean(r.Probes, r.Onset, r.End),
		Recovery:  r.recovery(),
		Filled:    r.filled(),
		Jain:      r.jain(r.Onset+Settling, r.End),
		PatchRate: r.WriteRate(r.Onset+Settling, r.End, 5*time.Second),
	}
	f.Late, f.Probes = r.late(r.Onset)
	f.Violation = ratio(f.Late, f.Probes)
	f.Settled = ratio(r.late(r.Onset + 2*time.Second))
	return f
}

// late counts the probes from a time on.
func (r Run) late(from time.Duration) (late, all int) {
	for _, p := range r.Probes {
		if p.At >= from && p.At < r.Until {
			all++
			if p.Late {
				late++
			}
		}
	}
	return late, all
}

func ratio(part, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

func (r Run) goodput() bitrate.Rate {
	var sum, n bitrate.Rate
	for _, p := range r.Points {
		if p.At <= r.Onset || p.At > r.End {
			continue
		}
		n++
		for i, g := range p.Goodput {
			if !r.Senders[i].Uncontrolled {
				sum += g
			}
		}
	}
	return sum / max(n, 1)
}

// WriteRate is the writes in [from, to) of each controlled pod per stretch.
func (r Run) WriteRate(from, to, stretch time.Duration) float64 {
	writes, pods := 0, 0
	for _, at := range r.Writes {
		if at >= from && at < to {
			writes++
		}
	}
	for _, s := range r.Senders {
		if !s.Uncontrolled {
			pods++
		}
	}
	if to <= from || pods == 0 {
		return 0
	}
	return float64(writes) / float64(pods) * stretch.Seconds() / (to - from).Seconds()
}

// Clean is how long after from a window of 2 s begins in which every app has
// less than 5 % of its probes late, beyond the share of its control's. It ends by
// to; -1 where there is none.
func Clean(probes []Probe, from, to time.Duration) time.Duration {
	const (
		bin    = 50 * time.Millisecond
		window = int(2 * time.Second / bin)
		share  = 0.05
	)
	n := int((to - from) / bin)
	type counts struct{ late, all []int }
	apps, controls := map[string]counts{}, map[string]counts{}
	for _, p := range probes {
		i := int((p.At - from) / bin)
		if p.At < from || i >= n {
			continue
		}
		of := apps
		if p.Control {
			of = controls
		}
		if of[p.App].all == nil {
			of[p.App] = counts{make([]int, n), make([]int, n)}
		}
		of[p.App].all[i]++
		if p.Late {
			of[p.App].late[i]++
		}
	}
	lateShare := func(c counts, i int) float64 {
		if c.all == nil {
			return 0
		}
		return ratio(sum(c.late[i:i+window]), sum(c.all[i:i+window]))
	}
	for i := 0; i+window <= n && len(apps) > 0; i++ {
		clean := true
		for app, c := range apps {
			clean = clean && sum(c.all[i:i+window]) > 0 && lateShare(c, i)-lateShare(controls[app], i) < share
		}
		if clean {
			return time.Duration(i) * bin
		}
	}
	return -1
}

func sum(values []int) (s int) {
	for _, v := range values {
		s += v
	}
	return s
}

// recovery is the longest time from where capacity became usable until 90 % of
// it is allowed to the senders that want to send; -1 where it did not happen
// in time.
func (r Run) recovery() time.Duration {
	var worst time.Duration
	for _, freed := range r.Freed {
		i := slices.IndexFunc(r.Points, func(p Point) bool {
			return p.At >= freed.From && p.At < freed.To && r.usable(p) >= p.Room*9/10
		})
		if i < 0 {
			return -1
		}
		worst = max(worst, r.Points[i].At-freed.From)
	}
	return worst
}

// usable is what the limits let the active senders send. Where nobody is
// active the limits of all count: it is what they would find.
func (r Run) usable(p Point) bitrate.Rate {
	var active, all bitrate.Rate
	for i, s := range r.Senders {
		if s.Uncontrolled || s.Aside {
			continue
		}
		limit := p.Limits[i]
		if limit == 0 {
			limit = bitrate.Gbit
		}
		all += limit
		if p.Offered[i] > 0 {
			active += limit
		}
	}
	if active > 0 {
		return active
	}
	return all
}

// Versus is one run's figures against another's of the same world.
type Versus struct {
	TimesLess float64 `json:"times_less_violation"` // the other's time in violation in units of the own; an own one without a late probe counts as one
	Goodput   float64 `json:"goodput_ratio"`        // the own in units of the other's
}

// Versus compares f with the figures of another.
func (f Figures) Versus(other Figures) Versus {
	own := ratio(max(f.Late, 1), f.Probes)
	v := Versus{}
	if own > 0 {
		v.TimesLess = other.Violation / own
	}
	if other.Goodput > 0 {
		v.Goodput = float64(f.Goodput) / float64(other.Goodput)
	}
	return v
}
