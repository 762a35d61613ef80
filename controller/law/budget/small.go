package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Small is a try for capacity that was lost and may be back any time: so little more, for one
// sender, and undone at so short a queue, that it makes hardly anything late. Agents are told
// of it on streams, and it is not written.
type Small struct {
	Good   bitrate.Rate  // what was given out before; 0: none is out
	Raised time.Time     // when the budget was raised before
	Edge   bitrate.Rate  // at which a queue is to show; 0: not known
	Shows  time.Duration // how long that takes: a link may let much pass at once first
	First  bool          // the capacity was learned from a single queue: once it is tried for what more there is
	Fits   bitrate.Rate  // what is to be given out by what that showed; 0: nothing is
	Passed bool          // no queue showed there, and more than a little is tried for
	Wait   time.Duration // until the next, since that was wrong; twice as long each time
}

const (
	smallWait  = 2 * time.Second        // after one that met a queue; later a tenth of how long ago the link fell
	smallStep  = 0.005                  // of the capacity, until a queue has shown
	smallReach = 1.04                   // times the capacity: who meets no queue up to there is on new ground
	smallQueue = 0.25                   // share of what is allowed that a queue may take
	smallMuch  = 0.006                  // of the capacity: by how much what is given out at the edge is too much
	smallLess  = 0.003                  // by which the edge is set lower at a time
	smallLate  = 0.02                   // the same, where it made somebody late: so long a queue tells well how much too much is
	smallShows = time.Second            // that a queue is waited for at the edge at first
	smallMore  = 200 * time.Millisecond // that it is waited for longer than it took before
	leastSmall = 60 * bitrate.Mbit      // capacity of which there are small steps
)

// small reports whether lost capacity is tried for in small steps: what is too much is to be
// undone soon, and seen as a queue.
func (t *Turn) small(b *Budget) bool {
	l, s := &b.Link, &b.Search
	quick := t.Load.Streams && t.Feedback < senders.Window*6/5
	return quick && t.Opinion.Allow > 0 && t.Opinion.Lag == 0 && !s.Even && !s.Fine && s.Overbooked.By == 0 &&
		(l.fallen() || s.Small.First) && l.Capacity >= leastSmall && !l.Loses && l.Least == 0
}

// probe gives out a little more, unless more than that is to be tried for: because small tries
// are not for this link, or as much goes through as met a queue before.
func (t *Turn) probe(b *Budget) bool {
	s, step := &b.Search.Small, bitrate.Scale(b.Link.Capacity, smallStep)
	switch {
	case s.Fits > 0:
		b.Total, *s = max(b.Total, s.Fits), Small{}
		b.Search.Raised, b.Search.At = t.Now, t.Now.Add(b.Search.Wait)
		return true
	case !t.small(b) || b.Phase != plan.Settled && s.Good == 0:
		return false
	case s.Good == 0:
		s.Good, s.Raised = b.Total, b.Search.Raised
		b.Total = max(b.Total+step, s.Edge)
	case s.Edge > 0 && b.Total >= s.Edge, b.Total > bitrate.Scale(b.Link.Capacity, smallReach):
		*s, b.Search.Step = Small{Passed: true, Wait: s.Wait}, 2*t.Config.RaiseStep
		return false
	default:
		b.Total += step
	}
	b.Phase, b.Search.Raised = plan.Trying, t.Now
	return true
}

// queued reports whether a small try has met a queue.
func (t *Turn) queued(b *Budget) bool {
	v := t.Opinion
	return b.Search.Small.Good > 0 && (v.Trouble() || v.Worst.Recent.Seconds() > smallQueue*v.Allow.Seconds())
}

// undo ends a small try that met a queue, and reports whether that is one of a link that falls.
func (t *Turn) undo(b *Budget) (falls bool) {
	s, v, much := &b.Search.Small, t.Opinion, t.grows()
	took := t.Now.Sub(b.Search.Raised)
	if s.Edge == 0 { // after steps of which the last were too much together
		took = max(took, smallShows)
	}
	s.Edge, s.Shows = b.Total, took
	if v.Worst.Recent > v.Soft && much > smallMuch { // the less is too much, the less is late, and the later it is seen
		most := smallLess
		if v.Trouble() {
			most = smallLate
		}
		less := min(much-smallMuch, most)
		s.Edge = bitrate.Scale(b.Total, 1-less)
		s.Shows = time.Duration(float64(took) * (1 + less/smallMuch))
	}
	undone := float64(b.Total-s.Good) / float64(b.Link.Capacity)
	falls = v.Lossy || v.Worst.Recent > v.Allow && much > undone // the queue would go on to grow
	again := max(smallWait, min(t.Now.Sub(b.Link.Fell)/10, t.soon()))
	if b.Link.unsteady(t.Now) {
		again = t.comeback(b)
	}
	if s.First && !falls {
		b.Link.Capacity = max(b.Link.Capacity, bitrate.Scale(b.Total, 1-smallMuch))
		*s, again = Small{Good: s.Good, Raised: s.Raised, Fits: bitrate.Scale(b.Link.Capacity, t.Config.Settle)}, 0
	}
	b.Total, b.Phase, b.Search.Raised, s.Good = s.Good, plan.Settled, s.Raised, 0
	b.Search.At = t.Now.Add(again)
	if !falls {
		b.Link.EffectBy = t.Now.Add(t.Feedback + t.Sense.Window)
	}
	return falls
}

// withdraw undoes a small try of which nothing is seen any more, and reports whether one was out.
func (t *Turn) withdraw(b *Budget) bool {
	s := &b.Search.Small
	if s.Good == 0 {
		return false
	}
	b.Total, b.Phase, b.Search.Raised, s.Good = s.Good, b.rest(), s.Raised, 0
	b.Link.EffectBy = t.Now.Add(t.Feedback)
	return true
}

// settle begins small tries anew, and returns how soon the first is due. Who passed the edge and met a
// queue at once has not found room: traffic that pauses, or others, had the edge too low.
func (s *Small) settle(overshot, more bool, soon, most time.Duration) time.Duration {
	wait := time.Duration(0)
	switch {
	case overshot && s.Passed && !more:
		wait = min(max(2*s.Wait, soon), most)
	case overshot && !more: // by another search
		wait = s.Wait
	}
	*s = Small{Wait: wait}
	return max(wait, smallWait)
}

// grows is how fast the queue grows, in seconds a second: by as much too much is sent.
func (t *Turn) grows() float64 {
	ramp := queue.Calmed(queue.Ramp(t.Paths, t.Now.Add(-queue.RampTime)))
	slope, _ := queue.Fit(queue.After(ramp, queue.Onset(ramp, t.Sense.Window)))
	return slope
}
