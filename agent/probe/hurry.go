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

// When three of the newest four packets are late by half of what is allowed, and one of its node session's
// newest four, or the newest two of both, the session is told about at once (Sender.Urgent): the controller
// undoes a try for more by so much. Once none of four is, it is told anew. When so many are late by all that is
// allowed, both are sent faster for hurryTime; that begins anew no sooner than hurryRest after it ended, so that
// a path which stays late costs no more than before. A packet that is late is followed by the next as soon as one
// is while they hurry, so that it is soon known whether so many are. A path whose node session is on time has no queue to hurry for:
// the app's host is busy, and closer looks would make it busier.
const (
	newestFour = 4
	lateOfFour = 3
	hurryTime  = time.Second
	hurryRest  = time.Second
	hurryBy    = 4
	hurryLeast = 5 * time.Millisecond
	hurryRead  = 3 * time.Millisecond  // between two reads of answers meanwhile
	hurryLook  = 50 * time.Millisecond // after a late packet that answers are read so often

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

	armed bool  // none of four was late by half since it was told of
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

// note takes a round trip into account and reports whether it is late by half, and may be told of or hurried for.
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
	half := s.allowed() / 2
	if h.above(half) == 0 {
		h.calm, h.armed = now, true
	}
	return delay > half && (h.armed || h.rested(now))
}

// allowed is the delay above the least that is allowed, at least a twentieth of a round trip that is, as
// the controller has it; negative where the least is more than that and nothing else is asked for.
func (s *session) allowed() time.Duration {
	rtt := s.Late.RTT
	left := rtt - min(s.hurry.least, s.hurry.before)
	switch {
	case rtt == 0:
		return s.Late.Above
	case left < 0 && s.Late.Above == 0:
		return left
	}
	left = max(left, rtt/20)
	if above := s.Late.Above; above > 0 {
		return min(above, left)
	}
	return left
}

// rested reports whether a session has not hurried lately, and was calm since it did.
func (h *hurry) rested(now int64) bool {
	return h.until == 0 || h.calm >= h.until && now-h.until > int64(hurryRest)
}

// newest is how late the newest packet was.
func (h *hurry) newest() time.Duration { return h.delays[(h.noted-1)%newestFour] }

// begins reports whether a session has not been late for long: answers are read sooner
// then. Of one that is late for ever they are not.
func (h *hurry) begins(now int64) bool { return now-h.calm < int64(hurryTime) }

// tells reports whether so many packets are late by d that there is a queue: three of the newest four,
// and one of the newest four of its node session w; or the newest two of the session and of w, which
// are the four that the controller takes for one. Where w is nil, or has seen nothing lately, the
// session's are all there is.
func (s *session) tells(w *session, d time.Duration, now int64) bool {
	late := s.hurry.above(d)
	if w == nil || s.Late.Above == 0 || w.hurry.noted == 0 || now-w.hurry.at > int64(fresh) {
		return bits.OnesCount8(late) >= lateOfFour
	}
	const pair = 0b11
	beside := w.hurry.above(d)
	return beside != 0 && bits.OnesCount8(late) >= lateOfFour || late&beside&pair == pair
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

// hasten has the session sent faster from now on.
func (s *session) hasten(now int64) {
	s.hurry.until = now + int64(hurryTime)
	s.again(now)
}

// again has the next packet sent as soon after the newest as one would be while the session hurries; not to
// a target that fails.
func (s *session) again(now int64) {
	if s.backoff == 0 && s.hasty() < s.Interval {
		s.due = min(s.due, max(now, s.newest+int64(s.hasty())))
	}
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

// hurried tells of late sessions, and has those hurry that are to, and their node sessions with them, and
// wakes for as long as anybody hurries.
func (s *Sender) hurried(late []*session, now int64) {
	for _, l := range late {
		h, allowed := &l.hurry, l.allowed()
		if h.begins(now) { // a few more are soon known
			s.closer = now + int64(hurryLook)
		}
		if h.begins(now) && h.newest() > allowed && (now < h.until || h.rested(now)) {
			if l.again(now); l.beside != nil {
				l.beside.again(now)
			}
		}
		if h.armed && l.tells(l.beside, allowed/2, now) {
			h.armed = false
			s.tell()
		}
		if h.rested(now) && l.tells(l.beside, allowed, now) {
			if l.hasten(now); l.beside != nil && l.beside.hurry.until <= now {
				l.beside.hasten(now)
			}
		}
	}
	s.hurrying = false
	for _, each := range s.sessions {
		s.hurrying = s.hurrying || now < each.hurry.until
	}
	if s.hurrying {
		s.tell()
		s.closer = now + int64(hurryLook)
	}
	if now < s.closer {
		s.collects = min(s.collects, now+int64(hurryRead))
	}
}
