package agents

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/plan"
)

// lateness tells what of a session is worth a decision before the next calm round. It
// compares with the least round trip of a longer time than any base is made of, so it
// misses nothing that would be judged late.
type lateness struct {
	above, rtt  time.Duration // the session's allowance; 0: not asked for
	least, last time.Duration // round trips of this span, and of it and the one before; 0: none yet
	since       time.Time     // when the span began
	answers     int           // so far, up to enough
}

// enough is how many answers a path takes to be judged by, and some more.
const enough = 12

// leastSpan is several times the epoch of sense's bases.
const leastSpan = 10 * time.Minute

// allow takes over what a session is allowed.
func (l *lateness) allow(s *api.Session) {
	l.above, l.rtt = time.Duration(s.GetLateAboveUs())*time.Microsecond, time.Duration(s.GetLateRttUs())*time.Microsecond
}

// notable takes in a batch, and reports whether it is among the first with an answer, until
// there were enough to judge by, or has a packet that was lost or later than that share of
// what is allowed. What was never answered is judged by nobody.
func (l *lateness) notable(batch []plan.Sample, share float64, now time.Time) bool {
	var least, most time.Duration
	answered, lost := 0, false
	for i := range batch {
		if s := &batch[i]; s.Lost {
			lost = true
		} else {
			answered++
			most = max(most, s.RTT)
			if least == 0 || s.RTT < least {
				least = s.RTT
			}
		}
	}
	if most == 0 {
		return lost && l.answers > 0
	}
	first := l.answers < enough
	l.answers = min(l.answers+answered, enough)
	if l.last == 0 || now.Sub(l.since) >= leastSpan {
		l.last, l.least, l.since = cmp.Or(l.least, least), least, now
	}
	l.least, l.last = min(l.least, least), min(l.last, least)
	delay := most - l.last
	return lost || first || l.above > 0 && beyond(delay, share, l.above) ||
		l.rtt > 0 && (l.last >= l.rtt || beyond(delay, share, l.rtt-l.last))
}

func beyond(delay time.Duration, share float64, allowed time.Duration) bool {
	return float64(delay) > share*float64(allowed)
}
