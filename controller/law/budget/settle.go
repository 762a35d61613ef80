package budget

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
)

// settle ends a cut: the queue is empty, so the budget returns to a share of
// what fits through. Where the queue was too short to measure that, the budget
// feels its way up from where the queue emptied.
func (t *Turn) settle(b *Budget) {
	if b.Trouble.Waited {
		t.resume(b)
		return
	}
	e := t.episode(b)
	t.gauge(b, e)
	l, s, before := &b.Link, &b.Search, &b.Trouble.Before.Link
	l.Best = max(l.Best, l.Capacity)
	l.left(t.Now)
	if l.fallen() && !b.Trouble.Overshot {
		s.Wait = t.comeback(b)
	}
	s.Fine = !s.Even && t.cheap(b) && !t.Load.Sockets && (t.doubtful(e, b.Trouble.Rise, l.Capacity) || !before.Known && t.free(e, l.Capacity))
	if s.Fine {
		s.Step = fineStep
		l.Upper = min(max(e.full, bitrate.Scale(l.Capacity, doubt)), bitrate.Scale(l.Capacity, overflow))
	}
	more := exceeds(l.Capacity, before.Capacity)
	wait, small := s.Wait, s.Small.settle(b.Trouble.Overshot, more, t.soon(), t.Config.MaxProbeEvery)
	s.Small.First = !before.Known && l.Measured
	switch {
	case s.Even || s.Fine:
		wait = 0
	case t.small(b) && !l.unsteady(t.Now):
		wait = small
	}
	if more {
		s.SpareWait = 0
	}
	l.Proven = min(b.Total, t.Load.Peak) // the queue emptied although this came in
	if t.Load.Costly() && !senders.InUse(t.Load.Peak, b.Total) {
		l.Proven = 0 // limits were low for the change: that says nothing
	}
	b.Total = max(b.Total, t.gives(b))
	b.Phase = b.rest()
	if b.Trouble.Tried {
		s.Residual = s.Usual.again(t.Now, l.Capacity, b.Total)
	}
	s.Raised, s.At, s.Usual = t.Now, t.Now.Add(max(wait, t.pause(b))), Usual{}
}

// resume gives out again what made a queue of what sockets had waiting.
func (t *Turn) resume(b *Budget) {
	x, s := &b.Trouble, &b.Search
	again := x.Before.Total
	if fits := max(b.Link.Capacity, bitrate.Scale(b.Link.Proven, 1/t.Config.Settle)); !s.Even { // else that is a guess
		again = min(again, bitrate.Scale(fits, besides)-t.goes(b))
	}
	b.Total, b.Phase = max(b.Total, again), b.rest()
	s.Raised, s.At = t.Now, later(s.At, t.Now.Add(t.pause(b)))
	switch {
	case x.Tried:
		b.Phase = plan.Trying
	case t.inFewSteps(b):
		s.At = t.Now.Add(s.Wait)
	}
}

// gauge takes the capacity, and what others use of it, from what was seen of a queue.
func (t *Turn) gauge(b *Budget, e episode) {
	l, before := &b.Link, &b.Trouble.Before.Link
	room, others, known := queue.Between(b.Trouble.Rise, e.down)
	if t.Load.Costly() && before.Known && exceeds(room+others, before.Capacity+before.Others) {
		known = false // more came on the way down than was counted
	}
	if !known && before.shared() { // the link is as it was, what others use of it is not
		room, others, known = queue.Beside(before.Capacity+before.Others, e.down)
	}
	if known {
		l.Others = others
	}
	seen := t.Load.Sockets && b.Trouble.Rise.Others > 0 && near(others, b.Trouble.Rise.Others, 0.5) // as what leaves the node says, too
	switch {
	case known && (counts(others, room) || seen):
		l.learn(room, true)
		b.Search.Even = !before.Known && b.between() // both slopes were short
	case !l.Known:
		t.measure(b, e)
	case e.pinned:
	case b.Trouble.Overshot: // it was guessed from the way up, or what was good before was taken
		if l.Capacity = max(l.Capacity, e.full); t.Load.Paced || t.Load.Sockets { // counted before it waits
			l.Capacity = min(l.Capacity, l.Upper)
		}
	default:
		l.Capacity = min(l.Capacity, e.full)
	}
}

// episode is what was seen of a queue from its beginning until it was gone.
type episode struct {
	ramp   []queue.Delay
	down   queue.Way     // once the cut was in force
	long   bool          // that took long enough to be exact
	took   time.Duration // from the cut until the queue began to leave
	full   bitrate.Rate  // what the senders sent while it stood, less what it grew by
	passed bitrate.Rate  // what fits through by what passed the node's uplink; 0: that says nothing
	pinned bool          // it stood at its limit: it may have overflowed, and full is too much
	fell   bool          // full includes the way down, where nothing overflows
}

func (t *Turn) episode(b *Budget) episode {
	e := episode{ramp: queue.Calmed(t.ramp(b, b.Link.Cut)), full: b.Link.Upper, pinned: true}
	if len(e.ramp) == 0 {
		return e
	}
	const w = senders.Window
	slope, from, to := queue.Falling(queue.After(e.ramp, b.Link.Cut))
	_, sent := senders.MeanSum(t.Senders, from, to)
	e.down, e.long = queue.Way{Slope: slope, Inflow: cmp.Or(min(sent, b.Total), b.Total)}, to.Sub(from) > w/2
	turn, cut := queue.Turning(e.ramp), b.Link.Cut
	if b.Trouble.Cuts == 1 { // it may have been deepened
		cut = b.Trouble.Before.At
	}
	e.took = max(0, e.ramp[turn].At.Sub(cut))
	first, last := queue.Foot(e.ramp, turn), queue.End(e.ramp, turn)
	windows := senders.Sums(t.Senders, e.ramp[first].At.Add(w*9/10), e.ramp[last].At.Add(w/10))
	e.passed = queue.Passed(windows, senders.Sums(t.Senders, e.ramp[last].At.Add(w/2), t.Now))
	// Of a cut that leaves nobody anything what was sent after it is no measure, nor where the way up was, as old packets leave unseen.
	if t.lost(b) || t.Load.Costly() && b.Link.Known {
		windows = slices.DeleteFunc(windows, func(s senders.Sum) bool { return s.At.After(b.Link.Cut) })
	}
	stands := max(t.Opinion.Soft/2, t.Opinion.Worst.Base.Idle)
	whole := windows
	if t.Load.Streams {
		whole = slices.DeleteFunc(slices.Clone(windows), func(s senders.Sum) bool { return s.At.Sub(s.From) < w*3/5 })
	}
	seen := queue.Throughput(e.ramp, whole, stands)
	brief := len(seen) == 0 && len(whole) < len(windows)
	if brief {
		seen = queue.Throughput(e.ramp, windows, stands)
	}
	if len(seen) == 0 {
		return e
	}
	e.pinned = queue.Pinned(e.ramp[first : turn+1])
	if e.full = seen[0]; !e.pinned && !t.Load.Paced { // what is counted before fq comes to the link later
		e.full = e.credible(seen)
	}
	switch {
	case !brief || e.down.Slope == 0:
	case e.long: // it tells more than half a window and less
		e.full = e.down.Alone()
	default:
		e.full = min(e.full, e.down.Alone())
	}
	e.full = min(e.full, b.Trouble.InForce)
	e.fell = len(windows) > 0 && windows[len(windows)-1].At.Sub(e.ramp[turn].At) > w*7/10
	return e
}

// credible is which of several throughputs is believed where the queue did not overflow:
// those are too little in which the link or its host stood still, and the one counts that
// the way down agrees with.
func (e *episode) credible(seen []bitrate.Rate) bitrate.Rate {
	if e.down.Slope == 0 {
		return quantile.Upper(seen, 0.5)
	}
	c := e.down.Alone()
	return slices.MinFunc(seen, func(a, b bitrate.Rate) int { return cmp.Compare(max(a-c, c-a), max(b-c, c-b)) })
}

// doubtful reports whether a capacity may be too low: what went through while the queue
// stood says so and the way up does not agree with it, or hosts stand still now and then,
// which makes every estimate doubtful.
func (t *Turn) doubtful(e episode, up queue.Way, capacity bitrate.Rate) bool {
	more := float64(e.full) / float64(capacity)
	return more > vague && more < overflow && !agrees(up, capacity) || t.Opinion.Elsewhere != nil
}

// free reports whether limits are in force so soon that a fine step too much is undone
// before it makes anything late. Limits are whole Mbit/s: a step of less is none.
func (t *Turn) free(e episode, capacity bitrate.Rate) bool {
	queued := fineStep * (e.took + senders.Window/2).Seconds()
	return (e.pinned || e.took > 0) && len(e.ramp) != 0 && bitrate.Scale(capacity, fineStep) >= bitrate.Mbit &&
		queued < t.Opinion.Allow.Seconds()
}

// agrees reports whether the way up says the same of the capacity.
func agrees(up queue.Way, capacity bitrate.Rate) bool {
	return up.Slope != 0 && near(up.Alone(), capacity, vague-1)
}

// bothWays is what fits through by the way up and the way down, where they say about the same; 0 where they do not.
func bothWays(up, down queue.Way) bitrate.Rate {
	if up.Slope == 0 || down.Slope == 0 || !near(up.Alone(), down.Alone(), doubt-1) {
		return 0
	}
	return max(up.Alone(), down.Alone())
}

// surely is what fits through by the way up, taken to be wrong by a tenth; 0 where that is
// unclear.
func surely(up queue.Way) bitrate.Rate {
	if up.Slope == 0 {
		return 0
	}
	return bitrate.Scale(up.Alone(), 1/doubt)
}

// From vague times the capacity on, what went through while a queue stood contradicts it;
// from overflow on it says nothing: it was dropped.
const (
	vague    = 1.04
	overflow = 1.5
)

// measure sets the capacity once the queue is empty: from what the senders sent
// while it stood, which is exact unless it overflowed, or from how fast it fell
// after the cut, which is exact if that took long.
func (t *Turn) measure(b *Budget, e episode) {
	l, up := &b.Link, b.Trouble.Rise
	if e.pinned && e.passed != 0 {
		l.learn(min(e.passed, max(l.Upper, e.full)), true) // more would not have queued
		return
	}
	c := min(e.down.Alone(), e.full)
	if !e.long {
		c = min(c, t.emptied(e)) // who sends on and off, or paused, bends the line
	}
	fallen := e.down.Slope != 0 && (e.long || !e.fell) && e.pinned
	slopes := bothWays(up, e.down)
	switch {
	case fallen && t.Load.Sockets && !e.long && c < min(up.Alone(), e.full) && up.Slope != 0: // TCP that slows down as it is cut bends the line down
		l.learn(min(up.Alone(), e.full), true)
	case fallen && t.Load.Streams && agrees(up, e.full): // the line down is bent where the cut came into force by and by
		l.learn(min(e.full, up.Alone()), true)
	case fallen && !(t.Load.Drops && senders.Fills(c, e.full)): // else less came than the limits let through, and full is too much as well
		l.learn(c, true)
	case slopes != 0 && float64(e.full) > vague*float64(slopes): // what was counted is of more than the time that the queue stood
		l.learn(slopes, true)
		b.Search.Wait = t.Config.ProbeEvery / 6 // to be confirmed: a host that stood still bends both
	case !fallen && (e.fell || !e.pinned):
		l.learn(e.full, true)
	default:
		l.learn(max(b.Total, min(b.Trouble.Guess, e.full), min(surely(up), e.full)), false)
		l.Upper, b.Search.Even = e.full, true
		return
	}
	if !e.long && float64(e.full) > vague*float64(l.Capacity) && !agrees(up, l.Capacity) {
		b.Search.Wait = t.Config.ProbeEvery / 6 // to be confirmed
		// What drained is below, and what a cut before left standing above it.
		b.Search.Even = b.between()
	}
}

// between reports whether a cut before left a queue standing above what is thought to
// fit: the truth is in between.
func (b *Budget) between() bool {
	return b.Trouble.Cuts > 1 && exceeds(b.Link.Upper, b.Link.Capacity)
}

// emptied is what fits through by the whole way down.
func (t *Turn) emptied(e episode) bitrate.Rate {
	if len(e.ramp) == 0 {
		return e.full
	}
	turn := queue.Turning(e.ramp)
	from, to := e.ramp[turn], e.ramp[queue.End(e.ramp, turn)]
	took := to.At.Sub(from.At)
	if took <= from.Above-to.Above {
		return e.full
	}
	sent, _ := senders.MeanSum(t.Senders, from.At, to.At)
	if sent == 0 { // who sends nothing says nothing of what fits
		return e.full
	}
	return queue.Way{Slope: (to.Above - from.Above).Seconds() / took.Seconds(), Inflow: sent}.Alone()
}
