package budget

import (
	"math"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Overbooking is by how much the limits behind a bottleneck come to more than its budget.
// Of many senders few send at a time, and what must fit through is what they use together.
type Overbooking struct {
	By        float64   // share of the budget
	Since     time.Time // that the figures are of it; zero: there are none
	At        time.Time // of the newest figure
	Mean, Dev float64   // of the usage in bit/s, and its mean deviation from that
	Most      float64   // times the budget that limits may come to since a queue stood; 0: none did
	Recalled  time.Time // when that was
}

const (
	many       = 8                // senders: of fewer one alone that begins to send makes a queue
	stillMany  = 6                // where limits are overbooked already: one that pauses is no reason to write all
	bookAfter  = 4 * time.Second  // of figures that are looked at first
	bookMemory = 15 * time.Second // of the figures
	bookStep   = 1.3              // by which the limits may grow at a time
	mostBooked = 2                // times the budget, beyond it
	// deviations is by how many mean deviations less than the budget is used on average: two
	// of a normal distribution's, of the highest of four windows. More is used in one window
	// of 200 then (the Gaussian approximation of Guérin, Ahmadi and Naghshineh, "Equivalent
	// capacity and its application to bandwidth allocation in high-speed networks", 1991).
	deviations = 2.5
	bookWorth  = 0.2  // the least change that is worth writing so many limits
	bookBack   = 0.6  // of the limits that made a queue, to which they go back at once
	bookBelow  = 0.85 // of those, up to which they may grow again
	bookGrow   = 0.1  // more of that with each minute
)

// Limits is what the limits of the senders may come to together.
func (b *Budget) Limits() bitrate.Rate { return bitrate.Scale(b.Total, 1+b.Search.Overbooked.By) }

// overbook follows what many senders use together, mean and deviation as TCP keeps those of
// round trips (RFC 6298), and has their limits come to so much that it is seldom more than
// the budget.
func (t *Turn) overbook(b *Budget) {
	o := &b.Search.Overbooked
	if t.Load.Sending < stillMany || t.Load.Sending < many && o.By == 0 || !b.Link.Known {
		o.By, o.Since = 0, time.Time{}
		return
	}
	if b.Phase != plan.Settled || !t.Load.Bound || t.Load.Paced || t.Opinion.Lag > 0 {
		o.Since = time.Time{}
		return
	}
	if o.Since.IsZero() {
		o.Since, o.At, o.Mean, o.Dev = t.Now, t.Now, float64(t.Load.Peak), 0
		return
	}
	age, off := t.Now.Sub(o.Since), float64(t.Load.Peak)-o.Mean
	if age <= 0 || t.Now.Before(o.At) {
		return
	}
	gain := float64(t.Now.Sub(o.At)) / float64(min(age, bookMemory))
	o.At = t.Now
	o.Dev += gain * (math.Abs(off) - o.Dev)
	o.Mean += gain * off
	if age < bookAfter {
		return
	}
	now := min(1+o.By, float64(t.Load.Limits)/float64(b.Total))
	fits := now * float64(b.Total) / (o.Mean + deviations*o.Dev)
	fits = min(max(fits, 1), (1+o.By)*bookStep, o.most(t.Now))
	if math.Abs(fits-(1+o.By)) > bookWorth*(1+o.By) {
		o.By, o.Since = fits-1, time.Time{}
	}
}

// together reports whether so many of those whose limits are overbooked send at once that
// the queue would go on to grow if a part of their limits were taken back.
func (t *Turn) together(b *Budget) bool {
	return b.Search.Overbooked.By > 0 && bitrate.Scale(t.Load.Peak, bookBack) > b.Total
}

// booked reports whether it is enough to take back a part of limits that are overbooked.
func (t *Turn) booked(b *Budget) bool {
	return b.Search.Overbooked.By > 0 && b.Phase == plan.Settled && !t.together(b)
}

// exceeded ends it, since a queue stood.
func (o *Overbooking) exceeded(now time.Time) {
	if o.By > 0 {
		o.Most, o.Recalled = (1+o.By)*bookBelow, now
	}
	o.By, o.Since = 0, time.Time{}
}

// most is how many times the budget limits may come to: less than made a queue, and more again
// as time goes by.
func (o *Overbooking) most(now time.Time) float64 {
	if o.Most == 0 {
		return 1 + mostBooked
	}
	return min(o.Most*(1+now.Sub(o.Recalled).Minutes()*bookGrow), 1+mostBooked)
}
