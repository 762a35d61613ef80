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

// When three of the newest four packets are late, the session is told about at
// once (Sender.Urgent), and it and its Witness are sent faster for hurryTime. That
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
)

// hurry is how a session watches for lateness. The zero hurry is at rest.
type hurry struct {
	least int64 // shortest round trip so far, ns; 0 before the first
	late  uint8 // one bit for each of the newest four, the newest the lowest
	armed bool  // none of four was late since the last alarm
	until int64 // monotonic time until which packets are sent faster
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

// note takes a round trip into account and reports whether it is time to tell.
func (s *session) note(rtt time.Duration, now int64) bool {
	h, limit := &s.hurry, s.Late
	if limit == (Late{}) {
		return false
	}
	if h.least == 0 {
		h.armed = true
	}
	if h.least == 0 || int64(rtt) < h.least {
		h.least = int64(rtt)
	}
	late := limit.Above > 0 && rtt-time.Duration(h.least) > limit.Above || limit.RTT > 0 && rtt > limit.RTT
	h.late = h.late << 1 & (1<<newestFour - 1)
	if late {
		h.late |= 1
	}
	if h.late == 0 && now-h.until > int64(hurryRest) {
		h.armed = true
	}
	if !h.armed || bits.OnesCount8(h.late) < lateOfFour {
		return false
	}
	h.armed = false
	s.hasten(now)
	return true
}

// hasten has the session sent faster from now on.
func (s *session) hasten(now int64) {
	s.hurry.until = now + int64(hurryTime)
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

// hurried looks whether sessions have become late or hurry since they were
// completed last, and has their witnesses hurry with them.
func (s *Sender) hurried(alarmed []*session, now int64) {
	for _, late := range alarmed {
		for _, each := range s.sessions {
			if each.ID == late.Witness && each.hurry.until <= now {
				each.hasten(now)
			}
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
