package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Bursts reports whether what sockets have waiting made a queue lately.
func (l *Link) Bursts(now time.Time) bool { return !l.Burst.IsZero() && now.Sub(l.Burst) < burstMemory }

// Eases reports whether a raise is to be one that what sockets have waiting makes no queue of: it did
// lately, or it is the first to what a queue told, which nothing is known of.
func (l *Link) Eases(now time.Time) bool { return l.Full(now) || l.Known && l.Eased.IsZero() }

// Paced reports whether changes are made that way, or were just now.
func (l *Link) Paced(now time.Time) bool { return l.Full(now) || now.Sub(l.Eased) < burstTime }

// Full reports whether sockets are taken to have so much waiting that a change of limits makes a queue of it: one was made lately, or
// it was seen to go on. That is no reason to change limits so that none comes while what fits is searched for, which takes many changes.
func (l *Link) Full(now time.Time) bool {
	return l.Bursts(now) || l.Measured && !l.GoesOn.IsZero() && now.Sub(l.GoesOn) < burstMemory
}

const (
	burstMemory = 10 * time.Minute // after a burst, that sockets are taken to have more waiting

	// What TCP has waiting at a low limit is gone after goesFrom, and what a full socket of UDP has is not before goesTo; after
	// goesEnd at the latest, the horizon since the limit was low, nothing goes on.
	goesFrom = 350 * time.Millisecond
	goesTo   = 650 * time.Millisecond
	goesEnd  = 1600 * time.Millisecond
	goesLook = goesEnd + 700*time.Millisecond // after a raise, that it is looked at
	goesLeft = 300 * time.Millisecond         // for as long
	// By so much more than later is sent while it goes on: a low limit is 3 % of what it was, and that may have been half of what it is.
	goesLeast, goesMost = 1.008, 1.06
)

// goesOn sees sockets that were full at low limits: what waits there goes on beside the limits after these, so that for a while a
// little more is sent than later on.
func (t *Turn) goesOn(b *Budget) {
	l, raised := &b.Link, b.Search.Raised
	if t.Load.Goes > 0 {
		l.Went, l.WentAt = t.Load.Goes, t.Now
	}
	since := t.Now.Sub(raised)
	if !t.Load.Sockets || t.Held || b.Phase != plan.Settled || !l.Eased.Equal(raised) || since < goesLook || since >= goesLook+goesLeft {
		return
	}
	inForce := raised.Add(t.Feedback)
	first, later := t.sent(inForce.Add(goesFrom), inForce.Add(goesTo)), t.sent(inForce.Add(goesEnd), t.Now)
	if more := float64(first) / float64(max(later, 1)); senders.Fills(later, b.Total) && more > goesLeast && more < goesMost {
		l.GoesOn = t.Now
	}
}

// sent is what they sent from one time to another.
func (t *Turn) sent(from, to time.Time) (sum bitrate.Rate) {
	for _, s := range t.Senders {
		sum += senders.Over(s.Rates, from, to)
	}
	return sum
}
