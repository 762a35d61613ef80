package law

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// settle ends a cut: the queue is empty, so the budget returns to a share of
// what fits through. Where the queue was too short to measure that, the budget
// feels its way up from where the queue emptied.
func (t *turn) settle(b *Budget) {
	e := t.episode(b)
	switch {
	case b.Capacity == 0:
		t.measure(b, e)
	case e.pinned:
	case b.Overshot: // it was guessed from the way up, or what was good before was taken
		b.Capacity = min(max(b.Capacity, e.full), b.Upper)
	default:
		b.Capacity = min(b.Capacity, e.full)
	}
	b.Best = max(b.Best, b.Capacity)
	if b.fallen() && !b.Overshot {
		b.ProbeWait = t.law.ProbeEvery / 12
	}
	wait := b.ProbeWait
	if b.Exploring {
		wait = 0
	}
	if float64(b.Capacity) > 1.1*float64(b.Known) {
		b.ReliefWait = 0
	}
	b.Proven = min(b.Total, t.load.peak) // the queue emptied although this came in
	b.Total = max(b.Total, scale(b.Capacity, t.law.Settle))
	b.Draining = false
	b.Hum = Hum{}
	b.RaisedAt, b.ProbeAt = t.now, t.now.Add(max(wait, t.pause(b)))
}

// episode is what was seen of a queue from its beginning until it was gone.
type episode struct {
	ramp   []delay
	full   bitrate.Rate // what the senders sent while it stood, less what it grew by
	pinned bool         // it stood at its limit: it may have overflowed, and full is too much
	fell   bool         // full includes the way down, where nothing overflows
}

// since is from when on delays may belong to the queue that stood at a time.
func (b *Budget) since(at time.Time) time.Time { return maxTime(at.Add(-rampTime), b.RaisedAt) }

func (t *turn) episode(b *Budget) episode {
	e := episode{ramp: calmed(t.ramp(b.since(b.CutAt))), full: b.Upper, pinned: true}
	if len(e.ramp) == 0 {
		return e
	}
	turn := turning(e.ramp)
	first, last := foot(e.ramp, turn), end(e.ramp, turn)
	windows := sums(t.senders, e.ramp[first].at.Add(subWindow*9/10), e.ramp[last].at.Add(subWindow/10))
	if full := throughput(e.ramp, windows, t.verdict.soft/2); full != 0 {
		e.full = min(full, b.InForce)
		e.pinned = pinned(e.ramp[first : turn+1])
		e.fell = windows[len(windows)-1].At.Sub(e.ramp[turn].at) > subWindow*7/10
	}
	return e
}

// measure sets the capacity once the queue is empty: from what the senders sent
// while it stood, which is exact unless it overflowed, or from how fast it fell
// after the cut, which is exact if that took long.
func (t *turn) measure(b *Budget, e episode) {
	down, from, to := falling(after(e.ramp, b.CutAt))
	low := t.inflow(b, from, to)
	c := min(alone(low, down), e.full)
	long := to.Sub(from) > subWindow/2
	if !long {
		c = min(c, t.emptied(e)) // who sends on and off, or paused, bends the line
	}
	switch {
	case down != 0 && (long || !e.fell) && e.pinned:
		b.Capacity = c
	case e.fell || !e.pinned:
		b.Capacity = e.full
	default:
		b.Capacity, b.Upper, b.Exploring, b.Measured = b.Total, e.full, true, false
		return
	}
	b.Measured = true
	share, known := others(b.Rise, b.RiseInflow, down, low)
	company := !(known && share < 0.2) && !near(e.full, b.Capacity, 0.08)
	vague := !long && !near(e.full, b.Capacity, 0.04)
	if company || vague {
		b.ProbeWait = t.law.ProbeEvery / 6 // to be confirmed
	}
}

// inflow is what the senders sent from one time to another after the cut.
func (t *turn) inflow(b *Budget, from, to time.Time) bitrate.Rate {
	sent := min(meanSum(t.senders, from, to, usable), b.Total)
	if sent == 0 {
		return b.Total
	}
	return sent
}

// emptied is what fits through by the whole way down.
func (t *turn) emptied(e episode) bitrate.Rate {
	if len(e.ramp) == 0 {
		return e.full
	}
	turn := turning(e.ramp)
	from, to := e.ramp[turn], e.ramp[end(e.ramp, turn)]
	took := to.at.Sub(from.at)
	if took <= from.above-to.above {
		return e.full
	}
	return alone(meanSum(t.senders, from.at, to.at, uncapped), (to.above-from.above).Seconds()/took.Seconds())
}
