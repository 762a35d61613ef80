package agents

import (
	"slices"
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

// add takes a batch. Samples of lost packets arrive after younger ones, hence
// the sort.
func (w *window[T]) add(batch []T, now time.Time) {
	if len(batch) == 0 {
		return
	}
	byTime := func(a, b T) int { return w.at(a).Compare(w.at(b)) }
	last := len(w.items) - 1
	if slices.IsSortedFunc(batch, byTime) && (last < 0 || byTime(batch[0], w.items[last]) >= 0) {
		w.items = append(w.items, batch...)
	} else {
		w.items = append(slices.Clone(w.items), batch...)
		slices.SortStableFunc(w.items, byTime)
	}
	w.items = w.items[max(0, len(w.items)-maxItems):]
	w.items = w.view(now)
}

// view returns what is not older than keep. The caller must not modify it.
func (w *window[T]) view(now time.Time) []T {
	oldest := now.Add(-keep)
	i := 0
	for i < len(w.items) && w.at(w.items[i]).Before(oldest) {
		i++
	}
	return slices.Clip(w.items[i:])
}
