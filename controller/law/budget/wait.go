package budget

import "time"

// wait sets how long it takes until more is tried for again: longer each time
// that there was no more. Capacity that was lost may come back soon.
func (t *Turn) wait(b *Budget, raised bool) {
	least := t.Config.ProbeEvery
	if b.Link.fallen() {
		least = t.comeback(b)
	}
	wait := 2 * b.Search.Wait
	if !b.Link.Measured || !raised {
		wait = 0
	}
	b.Search.Wait = max(least, 20*t.Opinion.Lag, min(wait, t.Config.MaxProbeEvery)) // a touch is seen late and lasts
}

// comeback is how long to wait for capacity that was lost: twice as long with each fall
// that follows another soon.
func (t *Turn) comeback(b *Budget) time.Duration {
	wait := t.soon()
	for n := b.Link.Falls; n > 1 && wait < fallMemory; n-- {
		wait *= 2
	}
	return min(wait, fallMemory)
}

// pause is the least time between raises: each must have shown before the next.
func (t *Turn) pause(b *Budget) time.Duration {
	shows := t.Feedback + 2*t.Sense.Window + t.Opinion.Lag
	switch {
	case (b.Search.Even || b.Search.Fine) && t.cheap(b):
		return shows - t.Sense.Window
	case b.Search.Even, !b.Link.Known:
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
