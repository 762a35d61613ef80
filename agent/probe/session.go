package probe

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

type slotState uint8

const (
	slotFree     slotState = iota
	slotWaiting            // sent
	slotAnswered           // answer read; the send timestamps may still be on their way
	slotDone               // sample made
	slotDoubted            // said to be lost, because three later ones were answered
	slotLost               // given up: the timeout is over
)

// slot is one packet in flight. Wall-clock values are nanoseconds of
// CLOCK_REALTIME; zero means unknown.
type slot struct {
	seq    uint32
	answer uint32 // number that the reflector gave to its answer
	fd     int32  // of the TCP prober
	state  slotState
	doubt  bool // it was slotDoubted

	sent, seen    int64 // monotonic: handed to the kernel, answer read
	queued, left  int64 // TX_SCHED, TX_SOFTWARE
	back          int64 // RX_SOFTWARE
	hwLeft        int64
	hwBack        int64
	far, farReply int64 // the reflector's receive and send timestamps, on its clock
	rtt           int64 // measured by the kernel itself (TCP)
}

// session is the state of one Session. The Sender's lock guards it.
type session struct {
	Session
	number uint16 // on the wire
	addr   netip.AddrPort
	target target
	prober prober   // nil while the address or the socket is missing
	beside *session // the one called NodeSession; nil: there is none

	due     int64     // monotonic time of the next packet
	behind  int64     // ns that the packets are behind their rate
	origin  uint32    // sequence number of the first packet
	next    uint32    // sequence number of the next packet
	oldest  uint32    // first one that may still be waiting
	sure    uint32    // first one that may still be doubted
	highest [3]uint32 // highest ones answered, in descending order
	known   int       // how many of them there are

	slots   []slot
	pending []*slot // answered, not yet completed
	done    []completed
	first   int // index of the oldest in done
	count   int

	totals     Totals
	told       Heard
	source     Source
	err        error
	failures   int
	failed     int64 // monotonic time of the newest failure
	backoff    time.Duration
	resolving  bool
	begun      int64 // monotonic times of the first and the newest packet; 0: none
	newest     int64
	blindFrom  int64 // since when nothing can be measured; 0: it can
	blind      int64 // ns for which nothing could, before that
	impossible uint64
	unique     uint64 // answers, each number of the reflector's once
	ttlThere   uint8
	ttlBack    uint8
	hurry      hurry
	restless   bool // something since the last drain is worth telling at once
}

// completed is a sample together with its time of sending.
type completed struct {
	sent int64
	Sample
}

func newSession(spec Session, number uint16, first uint32, now int64) *session {
	inFlight := int(2*spec.Timeout/spec.Interval) + 16
	if spec.Late != (Late{}) {
		inFlight = max(inFlight, int(spec.Timeout/spec.hasty())+16)
	}
	slots := 1 << bits.Len(uint(max(inFlight, 32)-1))
	kept := 1 << bits.Len(uint(2*time.Second/spec.Interval)+15)
	s := &session{
		Session: spec,
		number:  number,
		origin:  first,
		next:    first,
		oldest:  first,
		sure:    first,
		slots:   make([]slot, min(slots, maxSlots)),
		pending: make([]*slot, 0, 64),
		done:    make([]completed, kept),
	}
	s.due = now + rand.Int64N(int64(spec.Interval)) // sessions that begin together must not send together
	return s
}

// mostBehind is how much lost time is made up for: a rate is kept across the
// pauses of a busy machine, and no long one has a long echo.
const mostBehind = int64(200 * time.Millisecond)

// after returns when the packet after the one due now is due. Time lost is made
// up by the shortest of the gaps that are drawn anyway, and never by a burst. A
// target that fails is tried once a back-off.
func (s *session) after(now int64) int64 {
	if s.backoff > 0 {
		s.behind = 0
		return now + int64(s.backoff)
	}
	spacing := int64(s.spacing(now))
	shortest := spacing / 2
	gap := shortest + rand.Int64N(spacing+1)
	s.behind += max(now-s.due, 0)
	caughtUp := min(s.behind, gap-shortest)
	s.behind = min(s.behind-caughtUp, mostBehind)
	return now + gap - caughtUp
}

// take prepares the slot of the next packet.
func (s *session) take(now int64) *slot {
	p := &s.slots[int(s.next)&(len(s.slots)-1)]
	if p.state == slotWaiting || p.state == slotDoubted {
		s.lose(p) // cannot happen while the timeout holds fewer packets than there are slots
	}
	*p = slot{seq: s.next, state: slotWaiting, sent: now}
	s.next++
	s.totals.Sent++
	return p
}

// untake gives back a slot whose packet the kernel refused.
func (s *session) untake(p *slot) {
	p.state = slotFree
	s.totals.Sent--
}

// find returns the slot of packet seq, or nil if it is too old or was never sent.
func (s *session) find(seq uint32) *slot {
	p := &s.slots[int(seq)&(len(s.slots)-1)]
	if p.state == slotFree || p.seq != seq {
		return nil
	}
	return p
}

// answer notes that the answer to packet seq was read, to which the reflector
// gave a number of its own, and returns its slot for the timestamps; nil if the
// answer does not make a sample.
func (s *session) answer(seq, number uint32, now int64) *slot {
	p := s.find(seq)
	if p == nil {
		return nil
	}
	switch p.state {
	case slotAnswered, slotDone:
		s.totals.Duplicated++
		if number != p.answer { // answered twice; otherwise the network made two of one
			s.unique++
		}
		return nil
	case slotLost:
		p.state, p.answer = slotDone, number
		s.totals.Late++
		s.unique++
		return nil
	case slotDoubted:
		p.doubt = true
	}
	s.unique++
	if s.known > 0 && int32(seq-s.highest[0]) < 0 {
		s.totals.Reordered++
	}
	s.rank(seq)
	p.state, p.seen, p.answer = slotAnswered, now, number
	s.totals.Received++
	s.pending = append(s.pending, p)
	return p
}

// rank keeps the highest numbers that were answered.
func (s *session) rank(seq uint32) {
	if s.known < len(s.highest) {
		s.highest[s.known] = seq
		s.known++
	} else if last := &s.highest[len(s.highest)-1]; int32(seq-*last) > 0 {
		*last = seq
	} else {
		return
	}
	for i := s.known - 1; i > 0 && int32(s.highest[i]-s.highest[i-1]) > 0; i-- {
		s.highest[i], s.highest[i-1] = s.highest[i-1], s.highest[i]
	}
}

// complete turns the answered packets into samples. offset is CLOCK_REALTIME
// minus the monotonic clock. Where the kernel's timestamps are relied upon,
// answers are read late on purpose: one whose timestamps are missing was
// received, but says nothing. It reports whether the session has become late.
func (s *session) complete(now, offset int64) (late bool) {
	for _, p := range s.pending {
		if p.state != slotAnswered {
			continue
		}
		p.state = slotDone
		sample, source, ok := p.sample(offset)
		if ok && p.far != 0 && !sample.HasOneWay {
			s.impossible++
		}
		measured := ok && (source != SourceUser || s.prober != nil && s.prober.awaits())
		if measured {
			s.source = source
		}
		if measured || ok && p.doubt { // one that was called lost is corrected, if by the time of reading
			sample.Number, sample.Corrected = p.seq-s.origin, p.doubt
			s.keep(p.sent, sample)
		}
		if measured {
			late = s.note(sample.RTT, now) || late
		}
	}
	if len(s.pending) > 0 {
		if s.backoff > 0 {
			s.due = now
		}
		if s.blindFrom != 0 {
			s.blind, s.blindFrom = s.blind+now-s.blindFrom, 0
		}
		s.restless = s.restless || s.err != nil
		s.err, s.failures, s.backoff = nil, 0, 0
	}
	s.pending = s.pending[:0]
	return late
}

// clockSlack is how much a kernel round trip may exceed the one that this
// process saw, which contains it, before a clock step must be the reason.
const clockSlack = int64(time.Millisecond)

// sample computes the measurement of an answered packet; false if the wall
// clock was stepped while it was in flight.
func (p *slot) sample(offset int64) (Sample, Source, bool) {
	seen := p.seen - p.sent
	rtt, source := seen, SourceUser
	left, back := p.sent+offset, p.seen+offset
	switch {
	case p.rtt > 0:
		rtt, source = p.rtt, SourceKernel
	case p.hwLeft > 0 && p.hwBack > 0:
		left, back, source = p.hwLeft, p.hwBack, SourceHardware
		rtt = back - left
	case p.left > 0 && p.back > 0:
		left, back, source = p.left, p.back, SourceKernel
		rtt = back - left
	}
	if rtt <= 0 || rtt > seen+clockSlack {
		return Sample{}, source, false
	}
	out := Sample{RTT: time.Duration(rtt)}
	// A reflector that sent before it received, or held the packet for longer than
	// the round trip, has no clock to believe.
	if stay := p.farReply - p.far; p.far != 0 && stay >= 0 && stay < rtt {
		out.RTT, out.Stay, out.HasOneWay = time.Duration(rtt-stay), time.Duration(stay), true
		out.Forward, out.Backward = time.Duration(p.far-left), time.Duration(back-p.farReply)
	}
	if p.queued > 0 && p.left >= p.queued {
		out.HasQueue, out.Queue = true, time.Duration(p.left-p.queued)
	}
	return out, source, true
}

// expire gives up the packets older than the timeout, and doubts those that
// were overtaken by three.
func (s *session) expire(now int64) {
	if s.known == len(s.highest) {
		for last := s.highest[len(s.highest)-1]; int32(s.sure-last) < 0; s.sure++ {
			if p := s.find(s.sure); p != nil && p.state == slotWaiting {
				p.state = slotDoubted
				s.keep(p.sent, Sample{Lost: true, Number: p.seq - s.origin})
			}
		}
	}
	for s.oldest != s.next {
		p := s.find(s.oldest)
		if p != nil && (p.state == slotWaiting || p.state == slotDoubted) {
			if now-p.sent < int64(s.Timeout) {
				return
			}
			s.lose(p)
		}
		s.oldest++
	}
}

func (s *session) lose(p *slot) {
	if p.state != slotDoubted { // that was said already
		s.keep(p.sent, Sample{Lost: true, Number: p.seq - s.origin})
	}
	p.state = slotLost
	s.totals.Lost++
}

// open counts the packets that may still be answered in time.
func (s *session) open() int {
	n := 0
	for seq := s.oldest; seq != s.next; seq++ {
		if p := s.find(seq); p != nil && (p.state == slotWaiting || p.state == slotDoubted || p.state == slotAnswered) {
			n++
		}
	}
	return n
}

// sending notes that a packet is handed to the kernel now.
func (s *session) sending(now int64) {
	if s.begun == 0 {
		s.begun = now
	}
	s.newest = now
}

func (s *session) result(samples []Sample, now int64) Result {
	return Result{
		Session: s.Session, Err: s.err, Failures: s.failures, Samples: samples,
		Timestamps: s.source, Totals: s.totals, Heard: s.told,
		Addr: s.addr, SSID: s.number, Sending: time.Duration(s.newest - s.begun),
		Blind: s.blindFor(now), Impossible: s.impossible, Open: s.open(),
		TTLThere: s.ttlThere, TTLBack: s.ttlBack,
	}
}

// waiting reports whether a packet is in flight.
func (s *session) waiting() bool { return s.oldest != s.next }

// keep stores a sample, over the oldest where nobody collected in time.
func (s *session) keep(sent int64, sample Sample) {
	lost := sample.Lost && s.hurry.noted > 0 // what was never answered is a probe that does not fit
	s.restless = s.restless || lost || sample.Corrected
	if s.count == len(s.done) {
		s.first = (s.first + 1) & (len(s.done) - 1)
		s.count--
	}
	s.done[(s.first+s.count)&(len(s.done)-1)] = completed{sent, sample}
	s.count++
}

// drain appends what was kept to samples, ordered by sending, and forgets it.
// scratch is reused from call to call.
func (s *session) drain(now int64, samples []Sample, scratch []completed) ([]Sample, []completed) {
	scratch = scratch[:0]
	for i := range s.count {
		scratch = append(scratch, s.done[(s.first+i)&(len(s.done)-1)])
	}
	s.first, s.count, s.restless = 0, 0, false
	slices.SortStableFunc(scratch, func(a, b completed) int { // stable: what corrects a loss comes behind it
		switch {
		case a.sent < b.sent:
			return -1
		case a.sent > b.sent:
			return 1
		}
		return 0
	})
	for _, c := range scratch {
		c.Age = time.Duration(now - c.sent)
		samples = append(samples, c.Sample)
	}
	return samples, scratch
}

// Back-off of a session whose target refuses or cannot be reached: it is tried
// once a second at least, so that the end of an outage is seen. A name that
// cannot be found is looked up more rarely.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = time.Second
	lastLookup   = 5 * time.Second
)

// fail notes why the session cannot measure and slows it down, to a try each
// slowest at least, until an answer comes. Errors of packets that were sent before
// it had slowed down count once.
func (s *session) fail(err error, sent, now int64, slowest time.Duration) {
	s.err, s.restless = err, true
	if s.blindFrom == 0 {
		s.blindFrom = sent
	}
	if s.failures > 0 && sent <= s.failed {
		return
	}
	s.failed = now
	s.failures++
	s.backoff = min(max(2*s.backoff, firstBackoff), slowest)
	s.due = now + int64(s.backoff)
}

// blindFor is how long nothing could be measured.
func (s *session) blindFor(now int64) time.Duration {
	if s.blindFrom == 0 {
		return time.Duration(s.blind)
	}
	return time.Duration(s.blind + now - s.blindFrom)
}
