package actuate

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// waiting is a change and the time since when its pod has been waiting.
type waiting struct {
	Change
	since time.Time
}

// held is a change that was refused, the newest one, and when to ask again.
type held struct {
	Change
	again time.Time
}

// queue holds at most one change per pod.
type queue map[plan.PodID]waiting

// next returns the change to write first: cuts that no agent enforces yet, those
// first that take most from the link, other cuts, raises; then the one that has
// waited longest. Pods in busy have a write in flight. It looks at
// all, which for thousands of pods and tens of writes a second costs little.
func (q queue) next(busy map[plan.PodID]bool) *waiting {
	var best *waiting
	for pod, w := range q {
		if busy[pod] {
			continue
		}
		if best == nil || before(w, *best) {
			best = &w
		}
	}
	return best
}

func before(a, b waiting) bool {
	if a.Urgent() != b.Urgent() {
		return a.Urgent()
	}
	if a.record() != b.record() {
		return b.record()
	}
	if a.Urgent() && !a.record() && a.Takes != b.Takes {
		return a.Takes > b.Takes
	}
	if !a.since.Equal(b.since) {
		return a.since.Before(b.since)
	}
	return a.Pod.Compare(b.Pod) < 0
}
