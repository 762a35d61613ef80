package agents

import (
	"slices"
	"sort"
	"time"
)

// Bounds of what is kept of one session or pod. Laws look back a second or
// two; the rest is for people.
const (
	keep     = 5 * time.Second
	maxItems = 2000
)

// window holds the recent past of something in order of time. Views are shared
// with readers without copying: the writer only ever appends behind them, or
// moves on to a new array.
type window[T any] struct {
	at    func(T) time.Time
	items []T
}

// add takes a batch that is in order.
func (w *window[T]) add(batch []T, now time.Time) {
	if len(batch) == 0 {
		return
	}
	byTime := func(a, b T) int { return w.at(a).Compare(w.at(b)) }
	w.items = w.items[w.old(now):]
	if n := len(w.items); n == 0 || byTime(batch[0], w.items[n-1]) >= 0 {
		w.room(len(batch))
		w.items = append(w.items, batch...)
	} else {
		w.items = merged(w.items, batch, byTime)
	}
	w.items = w.items[max(0, len(w.items)-maxItems):]
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
	return slices.Clip(w.items[w.old(now):])
}

// old counts the items that are older than keep.
func (w *window[T]) old(now time.Time) int {
	oldest := now.Add(-keep)
	return sort.Search(len(w.items), func(i int) bool { return !w.at(w.items[i]).Before(oldest) })
}
