package actuate

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// waiting is a change, the time since when its pod has been waiting, and from when on it may be written.
type waiting struct {
	Change
	since, from time.Time
}

// A record is written once its value has stood for a while, or has waited for long: after a cut the values of many
// pods change a few times, and what is in force is so without it. One that is more than is recorded waits until it has
// stood: what was in force for a moment, on the way up, is never what somebody begins from.
const (
	stood      = time.Second
	waitedLong = 5 * time.Second
)

// writable is from when on a change may be written that was asked for now, after one that has waited since then.
func writable(c Change, since, now time.Time) time.Time {
	if !c.record() {
		return now
	}
	if most := since.Add(waitedLong); c.tightens() && now.Add(stood).After(most) {
		return most
	}
	return now.Add(stood)
}

// waited is how long a change has waited for its turn: that a record is to stand first is none of it.
func (w waiting) waited(now time.Time) time.Duration {
	if w.record() {
		return max(now.Sub(w.from), 0)
	}
	return now.Sub(w.since)
}

// held is a change that was refused, the newest one, and when to ask again.
type held struct {
	Change
	again time.Time
}

// queue holds at most one change per pod.
type queue map[plan.PodID]waiting

// next returns the change to write first, and drops those that come too late; false: there is none. Pods in busy
// have a write in flight. It looks at all, which for thousands of pods and tens of writes a second costs little.
func (q queue) next(busy map[plan.PodID]bool, now time.Time) (best waiting, some bool) {
	for pod, w := range q {
		if busy[pod] {
			continue
		}
		if w.late(now) {
			delete(q, pod)
			continue
		}
		if w.from.After(now) {
			continue
		}
		if !some || before(w, best, now) {
			best, some = w, true
		}
	}
	return best, some
}

// due is how long until next would return one; false: nothing waits.
func (q queue) due(busy map[plan.PodID]bool, now time.Time) (pause time.Duration, some bool) {
	for pod, w := range q {
		switch {
		case busy[pod]:
		case w.late(now):
			delete(q, pod)
		case !w.from.After(now):
			return 0, true
		case !some || w.from.Sub(now) < pause:
			pause, some = w.from.Sub(now), true
		}
	}
	return pause, some
}

// late reports whether a change comes too late: what waited there is nearly gone.
func (w waiting) late(now time.Time) bool { return w.ToLow && now.Sub(w.since) >= behindCuts }

// behindCuts is how long a raise that ends a low limit waits for cuts, and what begins
// one for anything.
const behindCuts = time.Second

// place is that of a change in the order of writes: cuts that no agent enforces yet,
// raises that end a low limit, the other cuts, raises, and records of those. Raises
// that end a low limit go first of all once cuts have kept them from it for long.
func (w waiting) place(now time.Time) int {
	switch {
	case w.FromLow && now.Sub(w.since) >= behindCuts:
		return 0
	case w.Urgent() && !w.record():
		return 1
	case w.FromLow && !w.record():
		return 2
	case w.Urgent():
		return 3
	case !w.record():
		return 4
	}
	return 5
}

// before orders two changes: of the same place, cuts that take most from the link go
// first, and of the others what has waited longest.
func before(a, b waiting, now time.Time) bool {
	place := a.place(now)
	if other := b.place(now); place != other {
		return place < other
	}
	if place == 1 && a.Takes != b.Takes {
		return a.Takes > b.Takes
	}
	if !a.since.Equal(b.since) {
		return a.since.Before(b.since)
	}
	return a.Pod.Compare(b.Pod) < 0
}
