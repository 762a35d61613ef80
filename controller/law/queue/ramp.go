// Package queue is the geometry of a queue as probes see it: when it began, how
// fast it grows and leaves, and what that says of the link's capacity. It is pure
// over samples.
package queue

import (
	"slices"
	"sort"
	"time"

	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/quantile"
)

// Delay is one sample above the base of its session.
type Delay struct {
	At    time.Time
	Above time.Duration
}

// Path is a session, and the leg of its way by which a queue is measured.
type Path struct {
	*plan.Session
	Leg sense.Leg
}

// Ramp is the delays that were seen on paths since a time, in the order of sending. Behind the whole
// cluster thousands of sessions are merged: two by two, so that none is moved by each other one.
func Ramp(paths []Path, from time.Time) []Delay {
	most, ends := 0, make([]int, 0, len(paths))
	since, first := plan.At(from), make([]int, len(paths))
	for k, p := range paths {
		if p.Leg != sense.Back { // to which one may come later that was sent before
			first[k] = sort.Search(len(p.Samples), func(i int) bool { return p.Samples[i].At.Compare(since) > 0 })
		}
		most += len(p.Samples) - first[k]
	}
	ramp := make([]Delay, 0, most)
	for k, p := range paths {
		for i := first[k]; i < len(p.Samples); i++ {
			if s := &p.Samples[i]; !s.Lost {
				if at := p.Leg.Begins(s, &p.Base); at.Compare(since) > 0 {
					ramp = append(ramp, Delay{at.Time(), p.Leg.Above(s, &p.Base)})
				}
			}
		}
		ends = append(ends, len(ramp))
	}
	for len(ends) > 1 {
		begin, merged := 0, ends[:0]
		for i := 0; i < len(ends); i += 2 {
			end := ends[min(i+1, len(ends)-1)]
			merge(ramp[begin:end], ends[i]-begin)
			begin, merged = end, append(merged, end)
		}
		ends = merged
	}
	return ramp
}

// merge puts two lists that follow each other, each in the order of time, in that order; at the
// same time the first one's come first.
func merge(both []Delay, second int) {
	if second == 0 || second == len(both) || !both[second].At.Before(both[second-1].At) {
		return
	}
	rest := slices.Clone(both[second:])
	for i, k := second-1, len(both)-1; len(rest) > 0; k-- {
		last := rest[len(rest)-1]
		if i >= 0 && last.At.Before(both[i].At) {
			both[k] = both[i]
			i--
			continue
		}
		both[k], rest = last, rest[:len(rest)-1]
	}
}

// RampTime is how far back a rise of the queue is looked for.
const RampTime = 1500 * time.Millisecond

// Onset is when the first packet was late by the queue that stood within the last window; zero
// if there is none.
func Onset(ramp []Delay, window time.Duration) time.Time {
	if len(ramp) == 0 {
		return time.Time{}
	}
	first, _ := wayUp(ramp, window)
	return ramp[first].At
}

// Began is when that queue began by the line of the way up: between the first sample that is
// late and the one before.
func Began(ramp []Delay, window time.Duration) time.Time {
	if len(ramp) == 0 {
		return time.Time{}
	}
	first, top := wayUp(ramp, window)
	began := ramp[first].At
	if first == 0 {
		return began
	}
	if slope, _ := Fit(below(ramp[first:top+1], full)); slope > 0 && ramp[first].Above > 0 {
		began = began.Add(-time.Duration(float64(ramp[first].Above) / slope))
	}
	if before := ramp[first-1].At; !began.After(before) {
		began = before.Add(1)
	}
	return began
}

// wayUp is where that to the longest queue of the last window begins and ends.
func wayUp(ramp []Delay, window time.Duration) (first, top int) {
	now := len(ramp) - len(After(ramp, ramp[len(ramp)-1].At.Add(-window)))
	top = now + highest(ramp[now:])
	return Foot(ramp, top), top
}

// foot is by how many times a queue is longer at its top than where its way up begins, and
// its way down ends.
const foot = 12

// Foot is where the way up to the top began.
func Foot(ramp []Delay, top int) int {
	i := top
	for i > 0 && ramp[i-1].Above > ramp[top].Above/foot {
		i--
	}
	return i
}

// End is the last sample of the way down from the top.
func End(ramp []Delay, top int) int {
	i := top
	for i+1 < len(ramp) && ramp[i+1].Above > ramp[top].Above/foot {
		i++
	}
	return i
}

func highest(ramp []Delay) int {
	top := 0
	for i, d := range ramp {
		if d.Above > ramp[top].Above {
			top = i
		}
	}
	return top
}

// full is how many eighths of its highest a queue is long that may be full.
const full = 7

// below keeps the samples up to so many eighths of the highest: a full queue
// has no slope.
func below(ramp []Delay, eighths time.Duration) []Delay {
	most := ramp[highest(ramp)].Above * eighths / 8
	return slices.DeleteFunc(slices.Clone(ramp), func(d Delay) bool { return d.Above > most })
}

// Calmed takes the median of every three neighbours: what one packet waited for
// a host is no queue.
func Calmed(ramp []Delay) []Delay {
	calm := slices.Clone(ramp)
	for i := 1; i+1 < len(ramp); i++ {
		a, b, c := ramp[i-1].Above, ramp[i].Above, ramp[i+1].Above
		calm[i].Above = max(min(a, b), min(max(a, b), c))
	}
	return calm
}

// Turning is where a queue began to leave: the last sample near the highest.
func Turning(ramp []Delay) int {
	top := highest(ramp)
	for i := len(ramp) - 1; i > top; i-- {
		if ramp[i].Above > ramp[top].Above*full/8 {
			return i
		}
	}
	return top
}

// level is the delay at a time, between the samples before and after it.
func level(ramp []Delay, at time.Time) (d time.Duration, known bool) {
	next, exact := slices.BinarySearchFunc(ramp, at, func(d Delay, at time.Time) int { return d.At.Compare(at) })
	switch {
	case exact:
		return ramp[next].Above, true
	case next == 0 || next == len(ramp) || ramp[next].At.Sub(ramp[next-1].At) > senders.Window/2:
		return 0, false
	}
	a, b := ramp[next-1], ramp[next]
	share := float64(at.Sub(a.At)) / float64(b.At.Sub(a.At))
	return a.Above + time.Duration(share*float64(b.Above-a.Above)), true
}

// After is the part of a ramp from a time on.
func After(ramp []Delay, at time.Time) []Delay {
	i, _ := slices.BinarySearchFunc(ramp, at, func(d Delay, at time.Time) int { return d.At.Compare(at) })
	return ramp[i:]
}

// Pinned reports whether a queue stood at its limit: it may have overflowed.
func Pinned(ramp []Delay) bool {
	levels := make([]time.Duration, len(ramp))
	for i, d := range ramp {
		levels[i] = d.Above
	}
	slices.Sort(levels)
	return quantile.Upper(levels, 0.5) > quantile.Of(levels, 0.9)*15/16
}

// straight is the slope of samples that lie on a line; 0 if they do not.
func straight(ramp []Delay) float64 {
	slope, explained := Fit(ramp)
	if len(ramp) < 3 || explained < 0.9 {
		return 0
	}
	return slope
}

// Fit is the slope of the delay, in seconds a second, and the share of the variance that it explains.
func Fit(ramp []Delay) (slope, explained float64) {
	var line sense.Line
	for _, d := range ramp {
		line.Add(d.At.Sub(ramp[0].At), d.Above)
	}
	return line.Fit()
}
