package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Link is what is believed of the capacity.
type Link struct {
	Known    bool
	Capacity bitrate.Rate // what is thought to fit through
	Measured bool         // it was measured, not assumed
	Loses    bool         // it was seen to lose what is too much, not to queue it
	Best     bitrate.Rate // highest Capacity so far
	Proven   bitrate.Rate // highest Total in use without a queue since it was raised
	Others   bitrate.Rate // what others were seen to use of the link besides
	Upper    bitrate.Rate // usage at the last cut: more than fits through
	Cut      time.Time    // when that was
	EffectBy time.Time    // samples sent before this say nothing about it
	Burst    time.Time    // when what sockets had waiting was last seen to make a queue
	GoesOn   time.Time    // when it was last seen to go on beside a limit, after a low one
	Went     bitrate.Rate // what last went on from low limits, and
	WentAt   time.Time    // when
	Eased    time.Time    // when limits were last changed so that what sockets have waiting makes no queue; zero: not by this leader
	Falls    int          // how often it fell, each time within fallMemory of the one before
	Fell     time.Time    // when it last did
	Least    bitrate.Rate // that others were seen to leave as it fell again; 0: they did not have it fall
}

// fallMemory is how long ago a link may have fallen for it to be expected to fall again.
const fallMemory = time.Minute

// leastMemory is how long what others left at least is taken to be all that they leave: they come
// and go, and each time that they come for more than is left an app is late.
const leastMemory = 2 * time.Minute

// fell notes that less fits through than did, by nobody's try for more.
func (l *Link) fell(now time.Time) {
	if now.Sub(l.Fell) > fallMemory {
		l.Falls = 0
	}
	if now.Sub(l.Fell) > leastMemory {
		l.Least = 0
	}
	l.Fell, l.Falls = now, l.Falls+1
}

// unsteady reports whether what comes back soon falls again.
func (l *Link) unsteady(now time.Time) bool { return l.Falls > 1 && now.Sub(l.Fell) < fallMemory }

// left notes what others leave of a link that has fallen again, if they use much of it.
func (l *Link) left(now time.Time) {
	if l.unsteady(now) && l.shared() && (l.Least == 0 || l.Capacity < l.Least) {
		l.Least = l.Capacity
	}
}

// shared reports whether others use much of it.
func (l *Link) shared() bool { return counts(l.Others, l.Capacity) }

// counts reports whether what others use of a link is much of it; room is what they leave.
func counts(others, room bitrate.Rate) bool { return float64(others) > company*float64(room+others) }

// spent reports whether all is given out that others were seen to leave lately.
func (l *Link) spent(total bitrate.Rate, settle float64, now time.Time) bool {
	return l.Least > 0 && now.Sub(l.Fell) < leastMemory && total >= bitrate.Scale(l.Least, settle)
}

// learn sets the capacity.
func (l *Link) learn(c bitrate.Rate, measured bool) {
	l.Known, l.Capacity, l.Measured = true, c, measured
}

// forget has the capacity be unknown again.
func (l *Link) forget() { l.Known, l.Capacity, l.Measured = false, 0, false }

// exceeds reports whether one rate is clearly more than another.
func exceeds(rate, other bitrate.Rate) bool { return float64(rate) > 1.1*float64(other) }

// fallen reports whether less fits through than once did.
func (l *Link) fallen() bool { return l.Known && float64(l.Capacity) < 0.9*float64(l.Best) }

const (
	company = 0.2  // share of the link that others use from which on it counts
	beside  = 0.08 // the same, where what leaves the node tells it, and says more than by headers that are counted there alone
)
