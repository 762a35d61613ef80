package budget

import (
	"math"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// grow tries for more than the capacity known so far when it is time to, or
// when the queue has become so quiet that there must be more. Each step that
// finds an empty queue doubles the next.
func (t *Turn) grow(b *Budget) plan.Reason {
	used := senders.InUse(t.Load.Peak, b.Total)
	if !b.Link.fallen() {
		b.Search.Whole = 0
	}
	if senders.InUse(t.Load.Peak, b.Link.Proven) {
		b.Search.Used = t.Now
	}
	switch {
	case t.ignored(b): // nobody carries raises out
		return t.hold(b, plan.Calm)
	case !t.Load.Seen.IsZero() && t.Now.Sub(t.Load.Seen) > time.Second+t.Load.Pause: // who sends what is not known any more
		return t.hold(b, plan.Blind)
	case !t.Load.More:
		return t.hold(b, plan.Unused)
	case t.vacated(b):
		return t.reason(b, plan.Grow, plan.Calm)
	case !used && (!t.Load.Bound || t.Load.InVain && !t.lost(b) || b.Search.Overbooked.By > 0 || t.pauses(b)): // what is not used says nothing of what fits
		if t.withdraw(b) {
			return t.reason(b, plan.Cut, plan.Unused)
		}
		return t.hold(b, plan.Unused)
	case b.Link.spent(b.Total, t.Config.Settle, t.Now), t.shows(b, used):
		return t.hold(b, plan.Calm)
	}
	if t.regain(b) {
		return t.reason(b, plan.Grow, plan.Calm)
	}
	if t.futile(b) {
		return t.forgo(b)
	}
	vain := t.vain(b)
	if !vain && senders.Fills(t.Load.Peak, b.Total) {
		b.Link.Proven = max(b.Link.Proven, b.Total)
	}
	spare := t.spare(b, used)
	switch {
	case t.Now.Before(b.Search.At) && !spare:
		return t.hold(b, plan.Calm)
	case vain:
		return t.hold(b, plan.Unused)
	}
	if t.found(b) || !spare && t.probe(b) {
		return t.reason(b, plan.Grow, plan.Calm)
	}
	b.Search.Raised, b.Search.Small.Good = t.Now, 0
	if b.back(spare, t.Now) && !t.lost(b) { // to what once fitted through
		b.Total = bitrate.Scale(b.Link.Best, t.Config.Settle)
		b.Link.learn(b.Link.Best, b.Link.Measured)
		b.Phase, b.Search.At = b.rest(), t.Now.Add(t.Config.ProbeEvery)
		return t.reason(b, plan.Grow, plan.Calm)
	}
	if t.beyond(b) {
		b.Search.Whole = t.whole(b)
	}
	if b.Phase != plan.Trying {
		b.Search.Usual = Usual{}
	}
	if b.Phase == plan.Settled {
		b.Search.Usual = b.Search.Residual.usual(b.Total)
	}
	t.raise(b, t.step(b, spare))
	b.Phase, b.Search.At = plan.Trying, t.Now
	return t.reason(b, plan.Grow, plan.Calm)
}

// pauses reports whether clearly less is sent over a link that lost capacity than went through it
// since: who tries for more meanwhile meets no queue, and has one as they send again. Who sends less
// for as long as tries are apart does not pause, and others are held back by what it is promised.
func (t *Turn) pauses(b *Budget) bool {
	return b.Link.fallen() && b.Search.Used.Before(t.Now) && t.Now.Sub(b.Search.Used) < t.Config.ProbeEvery
}

// vacated takes what others use less of the link than as it was cut, where that is enough for one of those of whom nobody
// gets anything: nothing of what they send tells that there is room. Where others come and go it is not taken each time.
func (t *Turn) vacated(b *Budget) bool {
	l, s := &b.Link, &b.Search
	room := l.Capacity + max(l.Others-t.Load.Others, 0)
	total := bitrate.Scale(room, t.Config.Settle)
	if !t.lost(b) || !l.Known || total < b.Total+t.Load.Lacks || t.Now.Sub(s.Raised) < t.pause(b) || t.Now.Sub(s.Vacated) < t.comeback(b) {
		return false
	}
	l.learn(room, l.Measured)
	l.Others = min(l.Others, t.Load.Others)
	s.end()
	b.Total, b.Phase = total, b.rest()
	s.Raised, s.Vacated, s.At = t.Now, t.Now, t.Now.Add(t.Config.ProbeEvery)
	return true
}

// lost reports whether nobody gets anything, since none slows down for a limit that is too little for
// all that it offers: then there is nothing to lose by a try for so much.
func (t *Turn) lost(b *Budget) bool {
	return t.Load.Lacks > 0 && t.Load.Peak < bitrate.Scale(b.Total, nothing)
}

// vain reports whether far less leaves the node than is counted under limits that all exceed, though not all are known not to
// slow down, as one that paused: that there is no queue says nothing then.
func (t *Turn) vain(b *Budget) bool {
	return t.Load.Over && b.Link.Known && t.Load.Out > 0 && !t.lost(b) && t.Load.Out < t.Load.Peak/2
}

// beyond reports whether nobody gets anything of less than was too much once.
func (t *Turn) beyond(b *Budget) bool {
	return t.lost(b) && b.Total+t.Load.Lacks >= bitrate.Scale(b.Link.Upper, t.Config.Settle)
}

// futile reports whether that was lately.
func (t *Turn) futile(b *Budget) bool { return t.beyond(b) && t.Now.Sub(b.Link.Cut) < t.whole(b) }

// whole is how long a try is waited for of which anybody gets anything. What the link itself has lost may come back any
// time, and nothing else tells of it: each time that it has not it is waited for twice as long.
func (t *Turn) whole(b *Budget) time.Duration {
	switch {
	case !b.Link.fallen() || b.Link.shared():
		return max(t.Config.ProbeEvery, b.Search.Wait)
	case b.Phase == plan.Trying && b.Search.Whole > 0: // it was, and takes several raises
		return b.Search.Whole
	}
	return min(max(2*b.Search.Whole, t.Config.ProbeEvery/4), t.Config.MaxProbeEvery)
}

// forgo ends a search below that: what is given out is of no use, nor does it harm anybody.
func (t *Turn) forgo(b *Budget) plan.Reason {
	if !b.Search.Even {
		return t.hold(b, plan.Calm)
	}
	b.Total = max(b.Total, bitrate.Scale(b.Link.Upper, t.Config.Settle))
	b.Link.learn(b.Link.Upper, false)
	b.Search.end()
	b.Phase, b.Search.Raised = b.rest(), t.Now
	return t.reason(b, plan.Grow, plan.Calm)
}

// shows reports whether the last raise has yet to show.
func (t *Turn) shows(b *Budget, used bool) bool {
	ago := t.Now.Sub(b.Search.Raised)
	return ago < t.pause(b) || t.Load.Resuming || t.Load.Paced && !used && ago < settleTime // they come back slowly from a change
}

// raise gives out a step more, and says how much the next one is to be.
func (t *Turn) raise(b *Budget, step float64) {
	best, raised := bitrate.Scale(b.Link.Best, t.Config.Settle), bitrate.Scale(b.Total, 1+step)
	below := best
	if t.Load.Sockets { // what was left free of that for what went on is not what it came back to
		below = bitrate.Scale(best, 1-withheld)
	}
	switch {
	case !b.Link.Known && t.Load.Costly():
		b.Search.Step = step
	case b.Total < below && raised > best: // not in one leap beyond what ever fitted through
		raised, b.Search.Step = best, t.Config.RaiseStep
	case b.Search.Fine:
		if b.Link.Upper > bitrate.Scale(b.Link.Capacity, doubt) { // it may be far too low
			b.Search.Step = min(step+fineStep, mostFine)
		}
		b.Search.Fine = raised < b.Link.Upper // beyond that it is a link that carries more
	case float64(raised) > 1.03*float64(b.Link.Capacity) && !b.Link.unsteady(t.Now):
		b.Search.Step = min(2*step, t.Config.MaxRaise) // on new ground
	}
	b.Total = raised
}

// ignored reports whether the limits in force are far below what was given out.
func (t *Turn) ignored(b *Budget) bool {
	share := 1 + 2*t.Config.MaxRaise
	if !b.Link.Known {
		share = 1.05
	}
	return float64(b.Total) > share*float64(t.Load.Limits)
}

// back reports whether to return to the best capacity that there was.
func (b *Budget) back(spare bool, now time.Time) bool {
	if b.Link.unsteady(now) || b.Link.Least > 0 {
		return false
	}
	if spare && exceeds(b.Link.Best, b.Total) {
		return true
	}
	return b.Link.fallen() && !b.Search.Even && exceeds(b.Total, b.Link.Capacity)
}

func (t *Turn) step(b *Budget, spare bool) float64 {
	step := max(b.Search.Step, t.Config.RaiseStep)
	switch {
	case !b.Link.Known && t.Load.Costly(): // limits of before may be far too low, and fewer changes cost less
		return min(max(2*b.Search.Step, t.Config.MaxRaise), 2*t.Config.MaxRaise)
	case !b.Link.Known:
		return t.Config.MaxRaise
	case t.lost(b): // less is of no use to anybody
		return min(float64(t.Load.Lacks)/float64(b.Total), 1)
	case t.inFewSteps(b):
		return max(step, float64(max(b.Link.Capacity, b.Total))*(1+largeStep)/float64(b.Total)-1)
	case b.Search.Even && t.Load.Costly(): // half of it: each change costs
		return max(math.Sqrt(float64(b.Link.Upper)/float64(b.Total))-1, leastStep)
	case b.Search.Fine:
		return max(b.Search.Step, fineStep)
	case b.Search.Even: // a third of the way, by ratio, to what was too much
		return max((math.Cbrt(float64(b.Link.Upper)/float64(b.Total))-1)*t.quiet(), 2*t.Config.RaiseStep)
	case spare:
		return max(step, t.Config.MaxRaise/2)
	}
	return step
}

const (
	doubt     = 1.1  // times what is right: how far an estimate may be wrong where hosts stand still
	leastStep = 0.08 // that is tried at a time where each change costs
	nothing   = 0.1  // share of what was used, or may be: it counts for nothing
	// fineStep is what is tried for where the capacity is nearly known: the queue of what is
	// too much is so short when it is seen that hardly a packet is late.
	// Where more may fit by far each that finds no queue makes the next a little larger.
	fineStep = 0.01
	mostFine = 0.04

	minSpareWait = 30 * time.Second
	maxSpareWait = 5 * time.Minute
)

// spare reports whether the link has become so much quieter that there must be
// room. A host that is less busy than it was looks the same, and so does an app that
// answers sooner as it likes: it is believed less and less often, until it was right.
func (t *Turn) spare(b *Budget, used bool) bool {
	s := &b.Search
	if !used {
		s.Residual = Residual{}
		return false
	}
	if !s.Residual.Fell(t.Now, t.Opinion.Residual) || t.Now.Before(s.SpareAt) || b.Link.unsteady(t.Now) {
		return false
	}
	s.SpareWait = min(max(2*s.SpareWait, minSpareWait), maxSpareWait)
	s.SpareAt = t.Now.Add(s.SpareWait)
	return true
}

// quiet is how far the delay is from where raising would stop, 0…1.
func (t *Turn) quiet() float64 {
	v := t.Opinion
	if v.Allow == 0 {
		return 1
	}
	return max(0, 1-float64(v.Worst.Median)/(t.Sense.Calm*float64(v.Soft)))
}

// wait sets how long it takes until more is tried for again: longer each time
// that there was no more. Capacity that was lost may come back soon.
func (t *Turn) wait(b *Budget, raised bool) {
	least := t.Config.ProbeEvery
	if b.Link.fallen() {
		least = t.comeback(b)
	}
	wait := 2 * b.Search.Wait
	switch {
	case raised && b.Search.Step > t.Config.MaxRaise: // so large a step tells little of what fits
		least, wait = t.soon(), 0
	case raised && !b.Trouble.Tried && t.inFewSteps(b): // it was no try
		wait = b.Search.Wait
	case !b.Link.Measured || !raised:
		wait = 0
	}
	b.Search.Wait = max(least, 20*t.Opinion.Lag, min(wait, t.Config.MaxProbeEvery)) // a touch is seen late and lasts
}

// pause is the least time between raises: each must have shown before the next.
func (t *Turn) pause(b *Budget) time.Duration {
	shows, s := t.Feedback+2*t.Sense.Window+t.Opinion.Lag, &b.Search.Small
	switch {
	case s.Good > 0 && b.Total == s.Edge:
		return max(shows-t.Sense.Window, s.Shows+smallMore)
	case (b.Search.Even || b.Search.Fine) && t.cheap(b), t.small(b):
		return shows - t.Sense.Window
	case b.Search.Even, !b.Link.Known, t.inFewSteps(b):
		return shows
	}
	return max(t.Config.RaiseEvery, shows)
}

// cheap reports whether a little too much is seen before it makes anything late, and
// undone as soon: where loss tells it, a signal lags, each change costs or the link falls
// again and again, it is not.
func (t *Turn) cheap(b *Budget) bool {
	x := &b.Trouble
	return !x.Overshot && x.Found.Loss == 0 && !b.Link.Loses && t.Opinion.Lag == 0 && !t.Load.Paced && !b.Link.unsteady(t.Now)
}

// Residual is the small delay of a link that is nearly full: the packets of others
// that happen to be in the way. When it falls while the senders send as much
// as before, there is room again, although no queue says so.
type Residual struct {
	Since      time.Time
	At         time.Time
	Slow, Fast float64 // seconds
}

// Usual is the residual delay as it was before a try, with what was given out then.
type Usual struct {
	Delay float64 // seconds; 0: it was not known
	Of    bitrate.Rate
}

// usual is what is known of it with so much given out.
func (r *Residual) usual(of bitrate.Rate) Usual {
	if r.At.Sub(r.Since) < residualLearn {
		return Usual{}
	}
	return Usual{Delay: r.Slow, Of: of}
}

// again is the residual delay after a try that was too much: as before it, but less where more is left free of the capacity than
// then. Else a link that carries more again while that is learned anew would not be heard.
func (u Usual) again(now time.Time, capacity, of bitrate.Rate) Residual {
	if u.Delay == 0 || u.Of >= capacity || of >= capacity {
		return Residual{}
	}
	delay := u.Delay * min(float64(capacity-u.Of)/float64(capacity-of), 1)
	return Residual{Since: now.Add(-residualLearn), At: now, Slow: delay, Fast: delay}
}

const (
	residualSlow  = 12 * time.Second
	residualFast  = 1200 * time.Millisecond
	residualLearn = 4 * time.Second
	residualLeast = 12e-6 // s; less is within the noise of any clock
)

// Fell takes in the residual delay of now and reports a lasting fall.
func (r *Residual) Fell(now time.Time, d time.Duration) bool {
	if r.Since.IsZero() || now.Sub(r.At) > residualLearn {
		*r = Residual{Since: now, At: now, Slow: d.Seconds(), Fast: d.Seconds()}
		return false
	}
	dt := min(now.Sub(r.At), residualFast) // more is near the target, and not taken in
	r.At = now
	learning := now.Sub(r.Since)
	slow := min(residualSlow, learning)
	r.Slow += (d.Seconds() - r.Slow) * min(1, float64(dt)/float64(slow))
	r.Fast += (d.Seconds() - r.Fast) * min(1, float64(dt)/float64(min(residualFast, learning)))
	if learning < residualLearn || r.Fast > 0.5*r.Slow || r.Slow-r.Fast < residualLeast {
		return false
	}
	*r = Residual{}
	return true
}
