package budget

import (
	"math"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// relieve cuts, unless doubt, futility or the floors speak against it.
func (t *Turn) relieve(b *Budget) plan.Reason {
	v := t.Opinion
	booked := t.booked(b)
	holds := b.Total
	if b.Phase == plan.Trying {
		holds = min(holds, b.Link.Capacity)
	}
	if v.Tail && (b.Link.Measured || booked) && !senders.InUse(t.Load.Peak, holds) {
		return t.hold(b, plan.NearTarget) // the link is known to hold more than this
	}
	switch {
	case v.Tail && t.doubts(b), !booked && !t.vainly(b) && t.early(b):
		return t.hold(b, plan.Confirming)
	case booked:
		return t.recall(b)
	case t.vainly(b):
		return t.forsake(b)
	}
	x, spent := &b.Trouble, !t.Load.Room || t.Load.Peak < bitrate.Mbit
	t.count(b)
	switch {
	case x.Cuts > 0 && spent, x.Fruitless >= t.Config.Fruitless, x.Cuts >= 2*t.Config.Fruitless:
		t.Escalate, t.Idle = true, t.byItself(b)
		t.giveUp(b, x.Before)
		return t.reason(b, plan.Restore, plan.Unresponsive)
	case spent && t.unsure():
		t.Empty = true // nobody sends: this is what the empty path takes
		return t.hold(b, plan.AwaitEffect)
	case spent:
		t.Escalate = true
		return t.hold(b, plan.AtFloor)
	}
	t.cut(b)
	return t.reason(b, plan.Cut, plan.Violation)
}

// recall takes most of it back: that many sent together is the likeliest cause of a queue,
// and no reason to think less of the link.
func (t *Turn) recall(b *Budget) plan.Reason {
	t.from = b.Limits()
	o := &b.Search.Overbooked
	by := max((1+o.By)*bookBack, 1) - 1
	o.exceeded(t.Now)
	o.By = by
	b.Link.EffectBy = t.Now.Add(t.Feedback)
	return t.reason(b, plan.Cut, plan.Violation)
}

// count notes how it was before the first of the cuts in a row, or that the last
// one had no effect.
func (t *Turn) count(b *Budget) {
	x, again, queue := &b.Trouble, b.again(), t.Opinion.Worst.Recent
	still := stays(float64(queue), float64(x.Found.Queue))
	if x.Found.Loss > 0 { // it is loss that says so
		still = stays(t.loss(b), x.Found.Loss)
	}
	switch {
	case again && still && t.Load.Paced && t.Load.Peak < bitrate.Scale(x.Found.Used, nothing): // of those whose limits are low for the change it is not
		x.Fruitless = t.Config.Fruitless
	case again && x.Depth >= telling && t.byItself(b) && t.Opinion.Worst.Base.Idle == 0: // where it is known, this is new
		x.Fruitless = t.Config.Fruitless
	case !again:
		x.Before = Before{At: t.Now, Total: b.Total, Link: b.Link, Limits: x.Before.Limits}
		x.Found, x.Fruitless = Found{Queue: queue, Tail: t.Opinion.Worst.Tail}, 0
		if t.loses(b) {
			x.Found.Loss = t.loss(b)
		}
	case x.Depth >= telling && still:
		x.Fruitless++
	}
	x.CleanAt = time.Time{}
}

// stays reports whether what was found has not become clearly less.
func stays(now, found float64) bool { return now > 0.7*found }

// byItself reports whether what is late is so by itself: some packets find the path
// empty, and the others are as late as they were before the cut.
func (t *Turn) byItself(b *Budget) bool {
	v := t.Opinion
	return v.Allow > 0 && !v.Lossy && v.Lag == 0 && 4*v.Worst.Least < v.Worst.Tail && stays(float64(v.Worst.Tail), float64(b.Trouble.Found.Tail))
}

// unsure reports whether the path that decides has a base that may be wrong.
func (t *Turn) unsure() bool {
	return t.Opinion.Worst.Session != nil && !t.Opinion.Worst.Base.Known
}

// doubts reports whether a tail without a queue is to be looked at once more.
func (t *Turn) doubts(b *Budget) bool {
	v := t.Opinion
	if t.raised(b) && v.Worst.Recent > v.Soft { // after a raise there is little doubt
		return false
	}
	x := &b.Trouble
	if x.Doubted.IsZero() {
		x.Doubted = t.Now
	}
	if t.Now.Sub(x.Doubted) >= t.Sense.Window*9/10 {
		return false
	}
	x.Resume, b.Phase = b.Phase, plan.Doubting
	return true
}

// early reports whether the queue is younger than what is known of the senders:
// a cut below the usage of before would be far too deep.
func (t *Turn) early(b *Budget) bool {
	if t.Opinion.Lossy || senders.InUse(t.Load.Peak, b.Total) {
		return false
	}
	ramp, window := t.ramp(b, t.Now), t.Load.Seen.Sub(t.Load.SeenFrom)
	began := queue.Began(ramp, t.Sense.Window)
	if t.Load.Paced { // what is sent is counted before it waits, and says less of the queue
		began, window = queue.Onset(ramp, t.Sense.Window), max(window, senders.Window)
	}
	enough := window * 6 / 10
	if t.Load.Streams { // a cut that is too deep is soon undone
		enough = window * 4 / 10
	}
	return t.Load.Seen.Sub(began) < enough && t.Now.Sub(began) < 5*senders.Window
}

const (
	telling = 0.15 // depth of a cut that a queue must answer to: a gentle one may just not have been enough
	deepest = 0.95 // most that is taken of our part of a link where the rest is others'
	// clearly is how much more of what may fit through, by how fast a queue grew, is left by a cut
	// than of what was sent: the faster it leaves, the less that tells of the capacity.
	clearly = 1.2
)

// cut lowers the budget below what fits through, by as much as it takes to
// empty the standing queue within the drain time: a queue of d seconds leaves
// at 1 − B/C seconds a second. Where nothing tells the capacity the cut is
// deep, and how fast the queue then leaves will tell it.
func (t *Turn) cut(b *Budget) {
	x := &b.Trouble
	again, raised := b.again(), t.raised(b)
	first := !again && !raised && !b.Link.Known
	b.Link.Upper = t.tooMuch(b)
	if !again {
		x.Rise = t.rise(b, raised)
		x.Found.Used, x.Tried = min(b.Limits(), t.Load.Peak), b.Phase == plan.Trying
	}
	if !again && !raised && b.Link.Known && !t.together(b) {
		b.Link.fell(t.Now)
	}
	depth, most, explore := t.estimate(b)
	x.Overshot = raised && !again
	t.wait(b, raised)
	total := b.Total
	x.InForce = t.Load.Limits + t.Load.Unused
	t.lower(b, b.Link.Upper, depth, most)
	if first { // the search ends there
		b.Link.Upper = min(total, t.sinceOnset(b))
	}
	if x.Tried && !again && t.Load.Streams {
		t.undone(b)
	}
	x.Doubted, x.Waited = time.Time{}, false
	x.Cuts++
	b.Link.Proven = 0
	b.Search.Overbooked.exceeded(t.Now)
	b.Search.end()
	b.Search.Even = explore
	if x.Resume = plan.Draining; t.unsure() {
		x.Resume = plan.Testing
	}
	b.Phase = plan.Cutting
}

// empty cuts for what sockets had waiting, and takes it for nothing else: what they are let send after it is what it was.
func (t *Turn) empty(b *Budget) {
	t.count(b)
	x := &b.Trouble
	x.Rise, x.Found.Used = queue.Way{}, min(b.Limits(), t.Load.Peak)
	x.Tried, x.Overshot, x.Waited = b.Phase == plan.Trying, true, true
	x.InForce = t.Load.Limits + t.Load.Unused
	total, depth := b.Total, t.queue().Seconds()/t.Config.Drain.Seconds()
	if t.lower(b, x.Found.Used, depth, t.Config.MaxCut); b.Total > total { // less was given out than fits
		b.Total = max(bitrate.Scale(total, 1-min(max(depth, t.Config.MinCut), t.Config.MaxCut)), min(t.Load.Floors, total))
		t.takes(b)
	}
	x.Doubted, x.Resume = time.Time{}, plan.Draining
	x.Cuts++
	b.Phase = plan.Cutting
}

// forsake ends a try for what was lost that is in vain where each change costs: what went through before is given out again.
func (t *Turn) forsake(b *Budget) plan.Reason {
	x, l := &b.Trouble, &b.Link
	good, upper := l.Proven, b.Limits()
	t.empty(b)
	t.wait(b, true)
	b.Total = min(b.Total, max(bitrate.Scale(good, 1-t.Config.MinCut), min(t.Load.Floors, b.Total)))
	t.takes(b)
	x.Before.Total, x.Tried = good, false
	l.Capacity, l.Upper, l.Proven = max(l.Capacity, bitrate.Scale(good, 1/t.Config.Settle)), upper, 0
	b.Search.end()
	return t.reason(b, plan.Cut, plan.Violation)
}

// rise is how the queue came. What leaves the node besides what they send is others', where that is much of the link, and
// nothing of a change before can still be leaving. Where a cut of all of them is in force at once, it is of use only with the slope.
func (t *Turn) rise(b *Budget, raised bool) queue.Way {
	rise := queue.Way{Slope: queue.Rising(t.ramp(b, t.Now)), Inflow: b.Link.Upper}
	least := company
	if t.Load.Sockets {
		least = beside
	}
	if raised || t.Held || t.Load.Out == 0 || t.Load.Sockets && rise.Slope == 0 {
		return rise
	}
	if rise.Others = t.Load.Others; float64(rise.Others) <= least*float64(rise.Alone()+rise.Others) {
		rise.Others = 0
	}
	b.Link.Others = rise.Others
	return rise
}

// lower takes such a share of what fits through, or was used if that is not known, and notes
// what is to come of it.
func (t *Turn) lower(b *Budget, used bitrate.Rate, depth, most float64) {
	l, x := &b.Link, &b.Trouble
	reference := used
	if l.Known {
		reference = l.Capacity
	}
	if t.Load.Costly() && l.Known && t.raised(b) && !b.again() && senders.InUse(t.Load.Peak, reference) { // limits are low for longer than the queue takes to leave
		depth = min(depth, 1-t.Config.Settle)
	}
	others := float64(reference+l.Others) / float64(reference) // a queue leaves as fast as the link is, not as our part of it
	depth = min(max(depth*others, t.Config.MinCut), max(most, min(most*others, deepest)))
	b.Total = max(bitrate.Scale(reference, 1-depth), min(t.Load.Floors, b.Total))
	room := reference
	if x.Found.Loss > 0 { // few probes tell only about what fits
		_, off := t.losses(b)
		room += bitrate.Scale(used, 2*off)
	}
	if whole := t.Load.Whole; !b.again() && whole < used && whole <= bitrate.Scale(room, 1-t.Config.MinCut) {
		b.Total = max(b.Total, whole)
	}
	t.takes(b)
	l.Cut, l.EffectBy = t.Now, t.Now.Add(t.Feedback)
}

// takes notes how much is taken.
func (t *Turn) takes(b *Budget) {
	x := &b.Trouble
	x.Depth = 1 - float64(b.Total)/float64(max(x.Found.Used, 1))
	x.Takes = max(x.InForce-t.Load.Unused-b.Total, 0)
}

// undone has a try end below what was in use without a queue: of so young a one little is known.
func (t *Turn) undone(b *Budget) {
	l := &b.Link
	to := max(bitrate.Scale(l.Proven, 1-t.Config.MinCut), bitrate.Scale(l.Capacity, 1-t.Config.MaxCut), min(t.Load.Floors, b.Total))
	if l.Proven > 0 && to < b.Total {
		b.Total = to
		t.takes(b)
	}
}

// deepen cuts more before a cut has shown, on what is told only after it: how much left the node, or how fast the
// queue grew.
func (t *Turn) deepen(b *Budget) bool {
	x := &b.Trouble
	together := b.Search.Overbooked.Recalled.Equal(b.Link.Cut) // that says enough, and nothing of the link
	first := b.Link.Cut.Add(senders.Window * 3 / 2)            // step after it, however soon it shows
	if !t.Now.Before(later(b.Link.EffectBy, first)) || x.Cuts != 1 || x.Found.Loss > 0 || x.Overshot || together {
		return false
	}
	return t.passesLess(b) || t.grew(b)
}

// lowerMore is lower, unless what is in force is as deep.
func (t *Turn) lowerMore(b *Budget, depth, most float64) bool {
	before := *b
	if t.lower(b, b.Trouble.Found.Used, depth, most); b.Total >= before.Total {
		*b = before
		return false
	}
	return true
}

// passesLess cuts a link that nothing was known of to what leaves the node.
func (t *Turn) passesLess(b *Budget) bool {
	x := &b.Trouble
	if x.Before.Link.Known || x.Guess != 0 {
		return false
	}
	before := *b
	if x.Guess = b.Link.plausible(t.passes()); x.Guess == 0 { // what is said of the link was looked at before the cut
		return false
	}
	b.Link.forget()
	if !t.lowerMore(b, t.toGuess(b, x.Found.Used), 1) {
		*b = before
		return false
	}
	return true
}

// grew cuts more of a link that was cut when its queue had just begun, once packets from before
// the cut tell how fast that grew, and so what fits through. Of one that nothing was known of that is
// done where a change costs nothing: elsewhere how the queue leaves is what tells of it.
func (t *Turn) grew(b *Budget) bool {
	x, l := &b.Trouble, &b.Link
	unknown, enough := !x.Before.Link.Known, l.Capacity
	if unknown { // what was sent was taken for it at the most
		enough = b.Total
	}
	if x.Rise.Slope != 0 || unknown && (x.Guess != 0 || !t.Load.Streams) {
		return false
	}
	ramp := t.ramp(b, l.Cut)
	ramp = ramp[:len(ramp)-len(queue.After(ramp, l.Cut))]
	if x.Rise.Slope = queue.Rising(ramp); x.Rise.Slope == 0 || l.Known && x.Rise.Alone() >= enough {
		return false
	}
	newest := ramp[len(ramp)-1]
	until := t.Now.Add(t.Feedback) // it grows, unless the first cut shows before
	if l.EffectBy.Before(until) {
		until = l.EffectBy
	}
	stands := newest.Above.Seconds() + x.Rise.Slope*until.Sub(newest.At).Seconds()
	depth, most := stands/t.Config.Drain.Seconds(), t.Config.MaxCut
	if unknown {
		l.forget()
		depth, most = 1, t.most(x)
	} else {
		l.learn(x.Rise.Alone(), true)
	}
	return t.lowerMore(b, depth, most)
}

// tooMuch is what was used, or was let through by a raise: more than fits through.
func (t *Turn) tooMuch(b *Budget) bitrate.Rate {
	used := min(b.Limits(), t.Load.Peak)
	if !t.raised(b) {
		return used
	}
	// What was in use before the raise may not be in use again yet.
	used = max(used, min(b.Link.Proven, b.Total))
	since := b.Search.Raised
	if t.Load.Costly() { // they come back from a low limit
		since = since.Add(t.Feedback + 2*senders.Window)
	}
	if t.Load.SeenFrom.Before(since) && senders.InUse(t.Load.Peak, b.Total) { // partly of before
		used = max(used, b.Limits())
	}
	return used
}

// sinceOnset is what the senders send by now: a sub-window in which the queue began is
// partly of before, and tells too little, by a quarter at the most that is believed: TCP
// that has just begun sends more for a moment than it will. Where a first cut waits for less of it, that is all
// that it is known by.
func (t *Turn) sinceOnset(b *Budget) bitrate.Rate {
	sums := senders.Sums(t.Senders, t.Now.Add(-3*senders.Window), t.Now)
	began := queue.Onset(t.ramp(b, t.Now), t.Sense.Window)
	if len(sums) < 2 || began.IsZero() {
		return t.Load.Peak
	}
	before, last := sums[len(sums)-2], sums[len(sums)-1]
	of, all := last.At.Sub(began), last.At.Sub(last.From)
	if of <= 0 || of >= all || last.Tx <= before.Tx {
		return t.Load.Peak
	}
	least := all * 3 / 4
	if t.Load.Streams {
		least = all * 4 / 10
	}
	more := float64(last.Tx-before.Tx) * float64(all) / float64(max(of, least))
	return max(t.Load.Peak, before.Tx+bitrate.Rate(more))
}

// estimate learns what it can of the capacity from the queue and from how it came,
// and says how deep to cut and how deep at most.
func (t *Turn) estimate(b *Budget) (depth, most float64, explore bool) {
	v, l, x, c := t.Opinion, &b.Link, &b.Trouble, t.Config
	depth, most = t.queue().Seconds()/c.Drain.Seconds(), c.MaxCut
	again, useful := b.again(), x.Fruitless == 0
	switch {
	case t.loses(b):
		return c.MinCut, most, t.fits(b)
	case useful && again && l.Known && v.Standing: // not enough for the queue that was on its way
		if t.stays(b) {
			l.forget()
		}
		return max(2*depth, telling), most, false
	case useful && v.Gentle():
		return t.gently(b), most, false
	case t.together(b): // that says enough, and nothing of the link
		return depth, most, false
	}
	if learned, explore := t.remember(b); learned {
		return depth, most, explore
	}
	if useful && t.shallow(l) { // a little too much
		l.learn(l.Upper, l.Measured)
		return depth, most, false
	}
	l.forget()
	if x.Guess = t.guess(b); !again && x.Guess != 0 {
		return t.toGuess(b, l.Upper), 1, false
	}
	return 1, t.most(x), false
}

// toGuess is the depth of a cut of what was sent that goes to a guess, and below it for the queue to leave.
func (t *Turn) toGuess(b *Budget, sent bitrate.Rate) float64 {
	depth := t.queue().Seconds() / t.Config.Drain.Seconds()
	to := bitrate.Scale(b.Trouble.Guess, 1-min(max(depth, t.Config.MinCut), t.Config.MaxCut))
	return 1 - float64(to)/float64(sent)
}

// most is the depth of a cut where the capacity is not known: a half is left of what was sent, then a
// quarter, then an eighth, or less where that may not fit through by how fast the queue grew.
func (t *Turn) most(x *Trouble) float64 {
	left := math.Pow(1-t.Config.MaxCut, float64(1+x.Fruitless))
	return 1 - left*min(1, clearly/(1+x.Rise.Slope))
}

// stays reports whether a queue has grown since the first cut, and leaves far more slowly than it
// would if as much fitted through as is believed.
func (t *Turn) stays(b *Budget) bool {
	l := &b.Link
	leaves := float64(l.Capacity-min(b.Total, l.Capacity)) / float64(l.Capacity+l.Others)
	return t.Opinion.Worst.Recent > 2*b.Trouble.Found.Queue && t.Opinion.Worst.Slope > -leaves/2
}

// gently is the depth of a cut where most packets are well: a little more with each.
func (t *Turn) gently(b *Budget) float64 {
	l, depth := &b.Link, telling*float64(b.Trouble.Cuts)
	if !b.again() && (!l.Known || t.raised(b)) {
		l.learn(l.Upper, l.Measured)
	}
	if !l.Known { // it is to tell something, since nothing else does
		depth += telling
	}
	return max(t.Config.MinCut, depth)
}

// remember takes the capacity from how the queue rose, or goes back to what was good
// before a raise.
func (t *Turn) remember(b *Budget) (learned, explore bool) {
	l, rise, raised := &b.Link, b.Trouble.Rise, t.raised(b)
	good := bitrate.Scale(l.Proven, proven/t.Config.Settle)
	if b.Search.Fine || b.Search.Even && t.cheap(b) { // there was next to nothing between that and too much
		good = bitrate.Scale(l.Proven, 1/t.Config.Settle)
	}
	switch {
	case b.again():
	case rise.Slope != 0 && (l.Known || raised || t.Load.Paced):
		l.learn(rise.Alone(), true)
		if raised {
			l.Capacity = max(l.Capacity, min(good, l.Upper))
		}
		return true, false
	case raised && t.stood(b) > 0:
		l.learn(max(t.stood(b), l.Proven), true)
		return true, false
	case raised && l.Proven > 0 && (near(l.Upper, l.Proven, 0.125) || l.Loses || !t.shallow(l)):
		l.learn(good, true)
		return true, exceeds(l.Upper, l.Capacity)
	}
	return false, false
}

// shallow reports whether the queue is so short, and grows so little, that what is
// used is the capacity; where that is known a longer one will do.
func (t *Turn) shallow(l *Link) bool {
	v := t.Opinion
	still := v.Worst.Slope < 0.1
	return v.Worst.Recent < 2*v.Allow && (l.Known || still) || v.Worst.Recent < 5*v.Allow && l.Measured && still
}

// queue is how long the queue will be when a cut made now takes effect.
func (t *Turn) queue() time.Duration {
	r := &t.Opinion.Worst
	growth := min(max(r.Slope, 0), 1) * (t.Feedback + senders.Window).Seconds()
	return r.Recent + time.Duration(growth*float64(time.Second))
}
