package queue

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/quantile"
)

// The queue tells the capacity. While the senders send B, and others X, into a
// link of capacity C, the delay grows by (B + X − C)/C seconds a second. The
// senders may have C − X.

// Way is the way up of a queue, or down.
type Way struct {
	Slope  float64      // seconds a second; 0: not seen
	Inflow bitrate.Rate // what the senders sent meanwhile
	Others bitrate.Rate // and others, as far as that was seen
}

// Alone is what fits through if nobody else is there than was seen: C = (B + X)/(1 + slope), of which X is others'. If
// more are there it is too little, never too much, as long as the queue falls. Where they take all of it, it is what can be written.
func (w Way) Alone() bitrate.Rate {
	return max(bitrate.Rate(float64(w.Inflow+w.Others)*(1/(1+w.Slope)))-w.Others, min(w.Inflow, bitrate.Min))
}

// Between is what the senders may have, where the slope would be 0, and what others have
// of the link: two equations for C and X.
func Between(up, down Way) (room, others bitrate.Rate, known bool) {
	if up.Slope <= 0 || down.Slope >= 0 || up.Inflow <= down.Inflow {
		return 0, 0, false
	}
	c := float64(up.Inflow-down.Inflow) / (up.Slope - down.Slope)
	room = down.Inflow + bitrate.Rate(-down.Slope*c)
	return room, max(bitrate.Rate(c)-room, 0), true
}

// Beside is the same from the way down alone, where the capacity of the whole link is known.
func Beside(whole bitrate.Rate, down Way) (room, others bitrate.Rate, known bool) {
	if down.Slope >= 0 {
		return 0, 0, false
	}
	room = min(down.Inflow+bitrate.Scale(whole, -down.Slope), whole)
	return room, whole - room, true
}

// Rising is the slope of the way up to the present queue; 0 if unclear.
func Rising(ramp []Delay) float64 {
	if len(ramp) == 0 {
		return 0
	}
	top := highest(ramp)
	// A burst makes a steep step of few samples; a lasting excess makes a ramp.
	part := below(ramp[Foot(ramp, top):top+1], full)
	if slope := straight(part); len(part) >= 4 && slope > 0.004 {
		return slope
	}
	return 0
}

// Falling is the slope of the way down after a cut, of its lower part, where
// every patch of the cut has taken effect, and the time of that part; 0 if
// unclear. Where senders falter as their limits change it is the part below that.
func Falling(ramp []Delay) (slope float64, from, to time.Time) {
	if len(ramp) == 0 {
		return 0, from, to
	}
	top := highest(ramp)
	way := ramp[top : End(ramp, top)+1]
	for eighths := time.Duration(5); eighths > 1; eighths-- {
		part := below(way, eighths)
		if slope = straight(part); slope < -0.01 && slope > -0.85 {
			return slope, part[0].At, part[len(part)-1].At
		}
	}
	return 0, from, to
}

// Passed is what fits through by what left the senders' node while a queue stood and after
// it: the queue is that of the node's own uplink where more came to it than left it, and
// what it sends less now than then is free. 0: there is no such evidence.
func Passed(standing, after []senders.Sum) bitrate.Rate {
	var passing []bitrate.Rate
	for _, w := range standing {
		if overfills(w) {
			passing = append(passing, w.Out)
		}
	}
	if len(passing) == 0 || len(after) == 0 || after[len(after)-1].Out == 0 {
		return 0
	}
	slices.Sort(passing)
	now := after[len(after)-1]
	return max(now.Tx+quantile.Upper(passing, 0.5)-now.Out, 0)
}

// Passes is the same while the queue is there, by the newest sub-window: what leaves the uplink, less what others sent
// of it just before the queue, and more by what senders sent that never comes to it, to others on their node. Where the queue
// began in the newest sub-window it is too little, and never too much. Where far more is sent than leaves all the time, that says nothing.
func Passes(sums []senders.Sum) bitrate.Rate {
	if len(sums) == 0 || !overfills(sums[len(sums)-1]) {
		return 0
	}
	last := sums[len(sums)-1]
	for _, w := range slices.Backward(sums) {
		if w.Out != 0 && !overfills(w) {
			return max(last.Out+w.Tx-w.Out, 0)
		}
	}
	return 0
}

// overfills reports whether far more came to an uplink than left it.
func overfills(w senders.Sum) bool { return w.Out != 0 && float64(w.Tx) > overfull*float64(w.Out) }

// overfull is by how much more must come to an uplink than leaves it: what it sends is
// counted with other headers than what pods do.
const overfull = 1.1

// Throughput is what fits through by each of the sub-windows in which a queue stood from
// beginning to end, ascending: what came in is what went out and what the queue grew by.
// What is shorter than stands may be noise.
func Throughput(ramp []Delay, sums []senders.Sum, stands time.Duration) []bitrate.Rate {
	var all []bitrate.Rate
	for _, w := range sums {
		if !w.At.After(w.From) { // it was told twice
			continue
		}
		before, seen := level(ramp, w.From)
		after, known := level(ramp, w.At)
		if seen && known && before >= stands && after >= stands {
			all = append(all, Way{Slope: (after - before).Seconds() / w.At.Sub(w.From).Seconds(), Inflow: w.Tx}.Alone())
		}
	}
	slices.Sort(all)
	return all
}
