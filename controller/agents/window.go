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
	at     func(T) plan.Instant
	items  []T
	oldest plan.Instant // of them, so that they need not be touched
}

// add takes a batch that is in order, and forgets what is older than long.
func (w *window[T]) add(batch []T, now time.Time, long time.Duration) {
	if len(batch) == 0 {
		return
	}
	byTime := func(a, b T) int { return w.at(a).Compare(w.at(b)) }
	w.items = w.items[w.old(now, long):]
	n := len(w.items)
	switch follows := n == 0 || byTime(batch[0], w.items[n-1]) >= 0; {
	case !follows:
		w.items = merged(w.items, batch, byTime)
	case cap(w.items)-n >= len(batch):
		w.items = append(w.items, batch...)
	default:
		w.items = moved(w.items, batch)
	}
	w.items = w.items[max(0, len(w.items)-maxItems):]
	w.oldest = w.at(w.items[0])
}

// moved is a new array of both, with room for as many as came now twice more, or a quarter of
// what there is: where append would take as much again, for thousands of windows that stay as
// long as they are. The old one is kept for as long as somebody has the last view of it, so few
// windows move in a second.
func moved[T any](items, batch []T) []T {
	n := len(items) + len(batch)
	room := min(max(2*len(batch), n/4), maxItems)
	return append(append(slices.Grow([]T(nil), n+room), items...), batch...)
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

// view returns what is not older than keep. The caller must not modify it.
func (w *window[T]) view(now time.Time) []T {
	return slices.Clip(w.items[w.old(now, keep):])
}

// old counts the items that are older than that.
func (w *window[T]) old(now time.Time, than time.Duration) int {
	oldest := plan.At(now.Add(-than))
	if len(w.items) == 0 || w.oldest.Compare(oldest) >= 0 {
		return 0 // as nearly always: the rest of it is left alone
	}
	return sort.Search(len(w.items), func(i int) bool { return w.at(w.items[i]).Compare(oldest) >= 0 })
}
