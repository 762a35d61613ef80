package sense

import "time"

// idling learns what a path shows by itself: the 90th percentile above its base while
// nobody sends who may be limited. Load only adds to it, so whatever is less at any time
// is nearer the truth. A target below that cannot be met by limiting anybody.
type idling struct {
	tail  time.Duration // running estimate of the 90th percentile
	seen  int           // samples that it is of
	since time.Time     // nobody sends; zero: somebody does
	idle  time.Duration // 0: not known
}

const (
	idleTime  = 5 * time.Second // without senders, after which the tail is that of the path
	idleLeast = 100             // samples
	tailStep  = 0.05            // of the estimate, by which it moves with a sample
	tailShare = 0.9
	idleBand  = 0.6 // of what is known: an estimate below it is believed
)

// add takes in a sample above base.
func (i *idling) add(above time.Duration) {
	if i.seen++; i.seen == 1 {
		i.tail = above
	}
	by := tailShare
	if above <= i.tail {
		by = tailShare - 1
	}
	i.tail = max(i.tail+time.Duration(by*tailStep*float64(i.tail)), time.Microsecond)
	if i.idle > 0 && float64(i.tail) < idleBand*float64(i.idle) {
		i.idle = i.tail
	}
}

// look takes over the tail if nobody sends for long enough, and no queue stands.
func (i *idling) look(now time.Time, quiet, queue bool) {
	switch {
	case !quiet || queue:
		i.since = time.Time{}
	case i.since.IsZero():
		i.since = now
	case now.Sub(i.since) >= idleTime && i.seen >= idleLeast:
		i.idle, i.since = i.tail, now
	}
}
