package sim

import (
	"math"
	"time"
)

// recovery is how a flow finds what was lost, and sends it again, as Linux does: a segment
// is lost if one that was sent later has come (RACK, RFC 8985 §6), a probe finds what
// nothing was sent after (§7), of a window with losses no more goes out than comes in
// (proportional rate reduction, RFC 9937), and if nothing comes at all the retransmission
// timeout starts anew from one segment (RFC 6298), or finds that it was wrong (RFC 5682).
//
// A segment is numbered when it is sent, and has another number when it is sent again: so
// numbers are in the order of sending.
type recovery struct {
	phase    phase
	sent     []segment // from the number base on
	base     int
	una      int // the lowest number that is in flight, or the next one
	newest   int // the highest number that came, plus one
	inflight int
	again    int // segments that are yet to be sent again
	later    int // and of what was sent first since recovery began
	high     int // the number that was next when it began
	pending  int // segments of before that are yet to come

	trip      time.Duration // round trip of the newest
	reordered bool          // numbers came out of order
	steps     int           // quarters of a round trip more that are waited for one that is overtaken
	widened   time.Duration // until when steps stay as they are
	suspects  int           // taken for lost since, and did not come after all
	first     int           // the first of them
	prior     window        // to go back to if all of them do

	delivered, out int     // segments since recovery began (RFC 9937 §6: prr_delivered, prr_out)
	whole          float64 // the window then

	probe   int           // the number of a probe that is out, plus one
	repairs bool          // it is the last segment again
	since   time.Duration // the newest transmission or acknowledgement
	held    time.Duration // when it was last seen that the limiter has no room
	due     time.Duration // when the timer runs out
	wake    time.Duration // when it is looked at next; 0: not
	backoff int
}

// phase is what a flow does about losses: nothing, or what follows one that was heard of,
// or the timeout (Linux' Open, Recovery and Loss).
type phase int

const (
	open phase = iota
	recovering
	restarting
)

// segment is what a flow knows of one that it sent.
type segment struct {
	at    time.Duration
	fate  fate
	again bool // in place of one that was lost
}

type fate int8

const (
	inFlight fate = iota
	came
	lost
)

// window is what a decrease changes.
type window struct{ cwnd, ssthresh, wmax float64 }

const (
	duplicates = 2                      // segments after a lost one that tell of it at once: three packets (RFC 8985 §6.2)
	leastRTO   = 200 * time.Millisecond // Linux' TCP_RTO_MIN, beside the round trip
	mostRTO    = time.Minute
	timerTick  = 4 * time.Millisecond // of a kernel of 250 Hz
	remembered = maxWindow            // segments whose fate is known, in case a lost one comes
)

// forget is a new connection: nothing is in flight.
func (r *recovery) forget() {
	r.phase, r.again, r.later, r.pending, r.probe, r.backoff = open, 0, 0, 0, 0, 0
	r.suspects, r.first, r.reordered, r.steps = 0, r.next(), false, 0
}

func (r *recovery) next() int { return r.base + len(r.sent) }

func (r *recovery) segment(n int) *segment { return &r.sent[n-r.base] }

// old reports whether a number is of what was sent before recovery began.
func (r *recovery) old(n int) bool { return n < r.high || r.segment(n).again }

// transmit sends what was lost before what is new.
func (f *tcpFlow) transmit(now time.Duration) {
	x := segment{at: now}
	switch {
	case f.again > 0:
		f.again--
		x.again = true
	case f.later > 0:
		f.later--
	}
	if drop := f.una - remembered - f.base; drop > remembered {
		f.sent = append(f.sent[:0], f.sent[drop:]...)
		f.base += drop
	}
	n := f.next()
	f.sent = append(f.sent, x)
	f.inflight++
	f.out++
	f.since = now
	f.s.send(now, f.id, n)
}

func (f *tcpFlow) acked(now time.Duration, n int) {
	if n < f.base || f.segment(n).fate == came {
		return
	}
	x := f.segment(n)
	rtt := now - x.at
	f.since, f.backoff = now, 0
	f.measure(rtt)
	if n < f.newest {
		f.reordered = true
	} else {
		f.newest, f.trip = n+1, rtt
	}
	if x.fate == lost {
		f.cameAfterAll(now, n)
		f.push(now)
		return
	}
	x.fate = came
	f.inflight--
	if f.phase != open && f.old(n) {
		f.pending--
	}
	found := f.find(now)
	f.probed(n)
	if found > 0 && f.phase != recovering {
		f.recover()
	}
	if f.phase == recovering {
		f.proportion(1, x.again && found == 0)
	} else {
		f.grow(now, rtt)
	}
	f.recovered()
	f.push(now)
}

// find takes for lost what was overtaken for long enough (RFC 8985 §6.2), and says how
// much that is.
func (f *tcpFlow) find(now time.Duration) (found int) {
	patience := f.patience()
	for ; f.una < f.newest; f.una++ {
		x := f.segment(f.una)
		if x.fate != inFlight {
			continue
		}
		if patience > 0 && x.at+f.trip+patience > now {
			break
		}
		if f.phase == open && found == 0 {
			f.suspect()
		}
		f.lose(f.una)
		found++
	}
	return found
}

// patience is RACK's reordering window.
func (f *tcpFlow) patience() time.Duration {
	beyond := f.next() - f.una - f.inflight
	if !f.reordered && (f.phase != open || beyond >= duplicates) {
		return 0
	}
	return min(f.least/4*time.Duration(1+f.steps), f.srtt)
}

// suspect is called before the first is taken for lost.
func (f *tcpFlow) suspect() {
	f.suspects, f.first = 0, f.una
	f.prior = window{f.cwnd, f.ssthresh, f.wmax}
}

func (f *tcpFlow) lose(n int) {
	f.segment(n).fate = lost
	f.inflight--
	f.suspects++
	f.s.backlog += f.s.w.segment
	if f.phase == open || f.old(n) {
		f.again++
	} else {
		f.later++
	}
}

// recover begins recovery.
func (f *tcpFlow) recover() {
	f.begin(recovering)
	f.whole = f.cwnd
	f.decrease()
	f.delivered, f.out = 0, 0
}

// begin has all that was sent until now be what is to come before it is over.
func (f *tcpFlow) begin(p phase) {
	f.phase, f.high = p, f.next()
	f.again, f.later = f.again+f.later, 0
	f.pending = f.inflight + f.again
}

// proportion is how much goes out for what came (RFC 9937 §6, as Linux' tcp_cwnd_reduction).
func (f *tcpFlow) proportion(n int, safe bool) {
	f.delivered += n
	var send float64
	if room := f.ssthresh - float64(f.inflight); room < 0 {
		send = math.Ceil(float64(f.delivered)*f.ssthresh/f.whole) - float64(f.out)
	} else {
		send = float64(max(f.delivered-f.out, n))
		if safe {
			send++
		}
		send = min(send, room)
	}
	if f.out == 0 {
		send = max(send, 1)
	}
	f.cwnd = float64(f.inflight) + max(send, 0)
}

// recovered ends recovery when all has come that was sent before it, and begins another
// one if something is missing of what was sent since.
func (f *tcpFlow) recovered() {
	if f.phase == open || f.pending > 0 {
		return
	}
	if f.phase == recovering {
		f.cwnd = f.ssthresh
	}
	f.phase = open
	if f.later > 0 {
		f.recover()
		f.proportion(0, false)
	}
}

// cameAfterAll is called for a segment that was taken for lost. If all of them come, the
// decrease was wrong; after a timeout one is enough (RFC 5682 §2).
func (f *tcpFlow) cameAfterAll(now time.Duration, n int) {
	f.segment(n).fate = came
	switch {
	case f.again > 0:
		f.again--
		f.pending--
		f.s.backlog -= f.s.w.segment
	case f.later > 0:
		f.later--
		f.s.backlog -= f.s.w.segment
	default:
		f.s.arrived -= f.s.w.segment // it comes twice
	}
	if now >= f.widened {
		f.steps++
		f.widened = now + f.srtt
	}
	if n >= f.first {
		f.suspects--
	}
	if f.phase == restarting && n < f.high {
		f.unlose()
	} else if n < f.first || f.suspects > 0 {
		f.recovered()
		return
	}
	f.phase, f.repairs = open, false
	f.cwnd, f.ssthresh, f.wmax = max(f.cwnd, f.prior.cwnd), max(f.ssthresh, f.prior.ssthresh), f.prior.wmax
	f.avoiding = false
}

// unlose has what a timeout took for lost, and was not sent again, be in flight.
func (f *tcpFlow) unlose() {
	f.una = max(f.first, f.base)
	for n := f.una; n < f.high; n++ {
		if x := f.segment(n); x.fate == lost {
			x.fate = inFlight
			f.inflight++
			if f.again > 0 {
				f.again--
				f.s.backlog -= f.s.w.segment
			}
		}
	}
	f.suspects = 0
}
