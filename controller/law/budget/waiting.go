package budget

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
)

// A queue of what sockets had waiting says nothing by how it came. What is sent after it is what limits let through, so how
// it leaves, or that it does not, tells what fits: where that is searched for, no step more has to be tried, each of which
// costs what low limits let through less.

// burstTime is how long after a raise one is waited for to leave.
const burstTime = 500 * time.Millisecond

// burst reports whether the newest raise was seen to make one.
func (b *Budget) burst() bool { return b.Link.Burst.After(b.Search.Raised) }

// searches reports whether what fits is searched for where sockets have more waiting.
func (t *Turn) searches(b *Budget) bool {
	return t.Load.Sockets && b.Search.Even && !b.Link.Loses
}

// found ends a search by the pace at which such a queue left.
func (t *Turn) found(b *Budget) bool {
	c := t.left(b)
	if c == 0 || b.Link.Upper != 0 && c >= b.Link.Upper {
		return false
	}
	b.Link.learn(max(c, b.Link.Capacity), true)
	b.Link.Best = max(b.Link.Best, b.Link.Capacity)
	b.Total = max(b.Total, bitrate.Scale(b.Link.Capacity, t.Config.Settle))
	b.Search.end()
	b.Search.Raised, b.Search.At, b.Phase = t.Now, t.Now.Add(t.Config.ProbeEvery), b.rest()
	return true
}

// left is what fits through by the pace at which it left; 0: that is unclear. From where it last was full all
// limits are in force: each that came to be so made it anew.
func (t *Turn) left(b *Budget) bitrate.Rate {
	ramp := queue.Calmed(t.ramp(b, t.Now))
	if !t.searches(b) || !b.burst() || len(ramp) == 0 {
		return 0
	}
	slope, from, to := queue.Falling(ramp[queue.Turning(ramp):])
	if slope == 0 {
		return 0
	}
	_, sent := senders.MeanSum(t.Senders, from, to)
	return queue.Way{Slope: slope, Inflow: cmp.Or(min(sent, b.Limits()), b.Limits())}.Alone()
}

// stands reports whether it was looked at for long enough to tell what fits, and is not on its way out.
func (t *Turn) stands(b *Budget) bool {
	v, r := t.Opinion, &t.Opinion.Worst
	return !v.Lossy && r.Recent.Seconds() > -r.Slope*burstTime.Seconds() && t.stood(b) > 0
}

// stood is what fits through by one that stands, or grows, or overflows, once the raise is in force; 0: that is unclear.
func (t *Turn) stood(b *Budget) bitrate.Rate {
	if !t.searches(b) || !b.burst() {
		return 0
	}
	from := b.Search.Raised.Add(t.Feedback + senders.Window)
	ramp := queue.Calmed(queue.After(t.ramp(b, t.Now), from))
	if len(ramp) < 4 || ramp[len(ramp)-1].At.Sub(ramp[0].At) < 2*senders.Window {
		return 0
	}
	slope, _ := queue.Fit(ramp)
	sent, _ := senders.MeanSum(t.Senders, ramp[0].At, t.Load.Seen)
	way := queue.Way{Slope: max(slope, 0), Inflow: min(sent, b.Limits())} // what low limits left waiting is sent besides, for a while
	return bitrate.Scale(way.Alone(), 1-t.missing(ramp[0].At))
}

// young reports whether a queue that came as a raise took effect is younger than what is known of the senders: that will tell
// whether it is what they had waiting.
func (t *Turn) young(b *Budget) bool {
	onset := queue.Onset(t.ramp(b, t.Now), t.Sense.Window)
	return t.searches(b) && !onset.IsZero() && !onset.After(b.Search.Raised.Add(t.Feedback)) && t.Load.SeenFrom.Before(onset)
}

// missing is the share of all probes that were sent since a time and are lost, but where nobody answers.
func (t *Turn) missing(since time.Time) float64 {
	all, lost := 0, 0
	for _, p := range t.Paths {
		sent, gone := 0, 0
		for i := range p.Samples {
			if s := &p.Samples[i]; !s.At.Before(since) {
				sent++
				if s.Lost {
					gone++
				}
			}
		}
		if gone < sent {
			all, lost = all+sent, lost+gone
		}
	}
	return float64(lost) / float64(max(all, 1))
}
