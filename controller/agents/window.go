package agents

import (
	"slices"
	"sort"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Bounds of what is kept of one session or pod. Laws look back five seconds where
// something is being decided; while an agent reports that all is calm, less than these
// two: a route that became longer shows in three seconds of samples.
const (
	keep        = 5 * time.Second
	calmSamples = 4 * time.Second
	calmRates   = 3 * time.Second
	maxItems    = 2000
)

// window holds the recent past of something in order of time. Views are shared
// with readers without copying: the writer only ever appends behind them, or
// moves on to a new array.
type window[T any] struct {
	at    func(T) plan.Instant
	items []T
	// more is what came since the last view and has no room behind items. Moving on is
	// left to the next view: until then the old array would be kept for who has the last. A
	// calm report of a second is a third of what there is.
	more []T
}

// add takes a batch that is in order, and forgets what is older than long.
func (w *window[T]) add(batch []T, now time.Time, long time.Duration) {
	if len(batch) == 0 {
		return
	}
	byTime := func(a, b T) int { return w.at(a).Compare(w.at(b)) }
	follows := func(all []T) bool { return len(all) == 0 || byTime(batch[0], all[len(all)-1]) >= 0 }
	w.items = w.items[w.old(now, long):]
	n := len(w.items)
	switch {
	case len(w.more) == 0 && follows(w.items) && cap(w.items)-n >= len(batch):
		w.items = append(w.items, batch...)
	case follows(w.items) && follows(w.more) && n > 0 && len(w.more)+len(batch) <= max(n/2, leastMore):
		w.more = append(w.more, batch...)
	default:
		w.move()
		if follows(w.items) {
			w.room(len(batch))
			w.items = append(w.items, batch...)
		} else {
			w.items = merged(w.items, batch, byTime)
		}
	}
	w.items = w.items[max(0, len(w.items)-maxItems):]
}

// leastMore is how much may wait for the next view of a window that is short.
const leastMore = 16

// move puts behind items what waited for that.
func (w *window[T]) move() {
	if len(w.more) > 0 {
		w.room(len(w.more))
		w.items, w.more = append(w.items, w.more...), nil
		w.items = w.items[max(0, len(w.items)-maxItems):]
	}
}

// merged is a new slice of two that are in order, a's first where they are equal.
func merged[T any](a, b []T, order func(x, y T) int) []T {
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if order(a[0], b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// room makes room for n more: a quarter more than is there, where append would take as
// much again, for thousands of windows that stay as long as they are.
func (w *window[T]) room(n int) {
	if have := len(w.items); cap(w.items)-have < n {
		w.items = append(make([]T, 0, have+max(n, have/4)), w.items...)
	}
}

// view returns what is not older than keep. The caller must not modify it.
func (w *window[T]) view(now time.Time) []T {
	w.move()
	return slices.Clip(w.items[w.old(now, keep):])
}

// old counts the items that are older than that.
func (w *window[T]) old(now time.Time, than time.Duration) int {
	oldest := plan.At(now.Add(-than))
	return sort.Search(len(w.items), func(i int) bool { return w.at(w.items[i]).Compare(oldest) >= 0 })
}
