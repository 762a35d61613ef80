package probe

import (
	"math/bits"
	"time"

	"github.com/detnet/detnet/workload"
)

// Late says from when on a packet is late; the zero Late never is.
type Late struct {
	Above time.Duration // delay above the least round trip of the session; 0: not asked for
	RTT   time.Duration // the round trip itself, likewise
}

// When three of the newest four packets are late, and one of its node session's newest four, or
// the newest three of both, the session is told about at once (Sender.Urgent), and
// both are sent faster for hurryTime. A path whose node session is on time has no queue to hurry for:
// the app's host is busy, and closer looks would make it busier. That
// begins anew once none of the newest four was late, and no sooner than hurryRest
// after it ended, so that a path which stays late costs no more than before.
const (
	newestFour = 4
	lateOfFour = 3
	hurryTime  = time.Second
	hurryRest  = time.Second
	hurryBy    = 4
	hurryLeast = 5 * time.Millisecond
	hurryRead  = 5 * time.Millisecond // between two reads of answers meanwhile

	// A part of the allowance that is worth telling of before the next calm report.
	stirs = 4

	// Several times as long as the controller makes its own least of: what it judges late
	// is late here.
	leastSpan = 10 * time.Minute

	// What a node session saw longer ago says nothing of now.
	fresh = 200 * time.Millisecond
)

// hurry is how a session watches for lateness. The zero hurry is at rest.
type hurry struct {
	// The shortest round trip of this span and of the one before, and when this one began:
	// after a route has become longer what is as long as that is not late for ever.
	least, before time.Duration
	since         int64

	late  uint8 // one bit for each of the newest four, the newest the lowest
	armed bool  // none of four was late since the last alarm
	calm  int64 // monotonic time of the newest packet of which that was so
	until int64 // monotonic time until which packets are sent faster

	delays [newestFour]time.Duration // above the least, of the newest four
	noted  int                       // round trips so far
	at     int64                     // monotonic time of the newest
}

// hasty is the spacing while a session hurries. A handshake is the app's work, and
// is never asked for more often.
func (s Session) hasty() time.Duration {
	if s.Protocol == workload.TCP {
		return s.Interval
	}
	return min(s.Interval, max(s.Interval/hurryBy, hurryLeast))
}

// spacing is the mean gap between packets now.
func (s *session) spacing(now int64) time.Duration {
	if now < s.hurry.until {
		return s.hasty()
	}
	return s.Interval
}

// note takes a round trip into account and reports whether it is late, and may be told of.
func (s *session) note(rtt time.Duration, now int64) bool {
	h, limit := &s.hurry, s.Late
	if h.noted == 0 {
		h.armed, h.least, h.before, h.since, s.restless = true, rtt, rtt, now, true
	}
	if now-h.since >= int64(leastSpan) {
		h.before, h.least, h.since = h.least, rtt, now
	}
	h.least = min(h.least, rtt)
	delay := rtt - min(h.least, h.before)
	h.delays[h.noted%newestFour], h.at = delay, now
	h.noted++
	if limit == (Late{}) {
		return false
	}
	s.restless = s.restless || delay > limit.Above/stirs && limit.Above > 0 || rtt > limit.RTT/2 && limit.RTT > 0
	late := limit.Above > 0 && delay > limit.Above || limit.RTT > 0 && rtt > limit.RTT
	h.late = h.late << 1 & (1<<newestFour - 1)
	if late {
		h.late |= 1
	}
	if h.late == 0 {
		h.calm, h.armed = now, h.armed || now-h.until > int64(hurryRest)
	}
	return h.suspects()
}

// suspects reports whether the newest packet was late, and more of them would be told of.
func (h *hurry) suspects() bool { return h.armed && h.late&1 != 0 }

// begins reports whether a session that suspects has not for long: answers are read sooner
// then. Of one that is late for ever, and is never told of, they are not.
func (h *hurry) begins(now int64) bool { return now-h.calm < int64(hurryTime) }

// tells reports whether so many packets are late that it is told of: three of the newest four,
// and one of the newest four of its node session w; or three in a row, the newest, of the
// session and of w together, some of each. Where w is nil, or has seen nothing lately, the
// session's are all there is.
func (s *session) tells(w *session, now int64) bool {
	late, above := s.hurry.late, s.Late.Above
	if w == nil || above == 0 || w.hurry.noted == 0 || now-w.hurry.at > int64(fresh) {
		return bits.OnesCount8(late) >= lateOfFour
	}
	beside := w.hurry.above(above)
	own, its := bits.TrailingZeros8(^late), bits.TrailingZeros8(^beside)
	return beside != 0 && bits.OnesCount8(late) >= lateOfFour || own > 0 && its > 0 && own+its >= lateOfFour
}

// above has one bit for each of the newest four packets: whether its delay was above d. The
// newest is the lowest.
func (h *hurry) above(d time.Duration) (late uint8) {
	for i := range min(h.noted, newestFour) {
		if h.delays[(h.noted-1-i)%newestFour] > d {
			late |= 1 << i
		}
	}
	return late
}

// hasten has the session sent faster from now on; it is told about once.
func (s *session) hasten(now int64) {
	s.hurry.armed, s.hurry.until = false, now+int64(hurryTime)
	s.due = min(s.due, now+int64(s.hasty()))
}

// tell wakes whoever waits for Urgent. It is called with the lock held.
func (s *Sender) tell() {
	select {
	case s.urgent <- struct{}{}:
	default:
	}
}

// Urgent receives when a session has become late, and for as long as it hurries
// whenever there are new samples. Several may come as one.
func (s *Sender) Urgent() <-chan struct{} { return s.urgent }

// rare is the mean spacing of packets from which each report counts: a judgement
// takes several that are fresh.
const rare = 40 * time.Millisecond

// Quiet reports whether nothing was measured since the last Collect that is worth
// telling before its time: no session has its first answer, no packet was lost where any was
// answered, or late by a quarter of what is allowed, no session has become blind, and all
// are sent often.
func (s *Sender) Quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.sessions {
		if each.restless || each.err != nil || each.Interval > rare {
			return false
		}
	}
	return len(s.rejected) == 0
}

// hurried has those of late sessions hurry that tell, and their node sessions with them, and
// wakes for as long as anybody hurries.
func (s *Sender) hurried(late []*session, now int64) {
	for _, l := range late {
		if l.hurry.begins(now) { // a few more are soon known
			s.collects = min(s.collects, now+int64(hurryRead))
		}
		if !l.tells(l.beside, now) {
			continue
		}
		l.hasten(now)
		if l.beside != nil && l.beside.hurry.until <= now {
			l.beside.hasten(now)
		}
	}
	s.hurrying = false
	for _, each := range s.sessions {
		s.hurrying = s.hurrying || now < each.hurry.until
	}
	if s.hurrying {
		s.tell()
		s.collects = min(s.collects, now+int64(hurryRead))
	}
}
