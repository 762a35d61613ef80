package agents

import (
	"errors"
	"time"

	"github.com/detnet/detnet/agent/api"
)

// clock dates the reports of one stream: by the agent's own clock, from the report that
// took the shortest way. A report of a node whose uplink is full waits in that queue, and
// what it tells would else seem as much younger than what other agents tell of the same
// moment.
type clock struct {
	first time.Time // report
	last  uint64    // as sent, µs
	// The least that arrivals were behind the sending, in this span and in the one before:
	// two clocks drift apart.
	now, before time.Duration
	span        time.Time // since when it is
}

const (
	// A tenth of a thousandth, as clocks may be off, is 2 ms in two spans.
	clockSpan = 10 * time.Second
	// mostDelay is what a report may have waited at most: what an agent says of its clock
	// makes nothing older than that.
	mostDelay = 2 * time.Second
)

var errClock = errors.New("a report that was sent before the one before")

// sent is when a report that arrives now would have arrived by the shortest way. It is old
// if that is longer ago than is believed: what it says of then can't be dated.
func (c *clock) sent(r *api.Report, now time.Time) (at time.Time, old bool, err error) {
	us := r.GetSentUs()
	if us == 0 { // the agent does not say
		return now, false, nil
	}
	if us < c.last {
		return now, false, errClock
	}
	c.last = us
	if c.first.IsZero() {
		c.first = now
	}
	sent := time.Duration(min(us, maxSent)) * time.Microsecond
	behind := now.Sub(c.first) - sent
	switch {
	case c.span.IsZero():
		c.now, c.before, c.span = behind, behind, now
	case now.Sub(c.span) >= clockSpan:
		c.now, c.before, c.span = behind, c.now, now
	}
	c.now = min(c.now, behind)
	waited := behind - min(c.now, c.before)
	return now.Add(-min(waited, mostDelay)), waited > mostDelay, nil
}

// maxSent is longer than any stream lasts: a hundred years.
const maxSent = 100 * 365 * 24 * 3600 * 1_000_000
