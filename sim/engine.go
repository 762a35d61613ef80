package sim

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// handler is what an event wakes. Arg and sent are its own business.
type handler interface {
	fire(now time.Duration, e event)
}

type event struct {
	at   time.Duration // since the start of the run
	seq  uint64        // ties are broken by order of scheduling
	h    handler
	arg  int
	sent time.Duration
}

// clock is the virtual clock: it runs events in order and knows no other time.
type clock struct {
	now    time.Duration
	seq    uint64
	events eventHeap
}

func (c *clock) schedule(at time.Duration, h handler, arg int, sent time.Duration) {
	c.seq++
	c.events.push(event{at: max(at, c.now), seq: c.seq, h: h, arg: arg, sent: sent})
}

func (c *clock) run(until time.Duration) {
	for len(c.events) > 0 && c.events[0].at <= until {
		e := c.events.pop()
		c.now = e.at
		e.h.fire(c.now, e)
	}
	c.now = until
}

// eventHeap is a binary heap; container/heap would allocate for every event.
type eventHeap []event

func (a event) before(b event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *eventHeap) push(e event) {
	q := append(*h, e)
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(q[parent]) {
			break
		}
		q[i] = q[parent]
		i = parent
	}
	q[i] = e
	*h = q
}

func (h *eventHeap) pop() event {
	q := *h
	top, e := q[0], q[len(q)-1]
	q[len(q)-1] = event{}
	q = q[:len(q)-1]
	for i := 0; len(q) > 0; {
		child := 2*i + 1
		if child+1 < len(q) && q[child+1].before(q[child]) {
			child++
		}
		if child >= len(q) || !q[child].before(e) {
			q[i] = e
			break
		}
		q[i] = q[child]
		i = child
	}
	*h = q
	return top
}

func airtime(size int, rate bitrate.Rate) time.Duration {
	return time.Duration(float64(size) * 8 * float64(time.Second) / float64(rate))
}

// shaper is a pod's limiter: a token bucket before a FIFO of limited bytes.
type shaper struct {
	clock   *clock
	segment int          // bytes of a packet
	rate    bitrate.Rate // 0: none
	burst   int          // bytes that may pass at once after a pause
	most    int          // bytes that wait
	out     func(now time.Duration, sent time.Duration)
	queue   []time.Duration // when each waiting packet was sent
	head    int
	free    time.Duration
	waking  bool
	wakes   int // asked for so far: only the newest is meant
}

// push takes one packet of size segment; false if it is dropped.
func (s *shaper) push(now, sent time.Duration) bool {
	if s.rate == 0 || s.head == len(s.queue) && s.free <= now {
		s.spend(now)
		s.out(now, sent)
		return true
	}
	if s.waiting()+s.segment > s.most {
		return false
	}
	s.queue = append(s.queue, sent)
	s.wake(now)
	return true
}

func (s *shaper) limit() bitrate.Rate { return s.rate }

func (s *shaper) waiting() int { return (len(s.queue) - s.head) * s.segment }

func (s *shaper) room(int) bool { return true }

func (s *shaper) spend(now time.Duration) {
	if s.rate > 0 {
		s.free = max(s.free, now-airtime(s.burst, s.rate)) + airtime(s.segment, s.rate)
	}
}

func (s *shaper) wake(now time.Duration) {
	if !s.waking {
		s.waking = true
		s.wakes++
		s.clock.schedule(max(s.free, now), s, s.wakes, 0)
	}
}

func (s *shaper) fire(now time.Duration, e event) {
	if e.arg != s.wakes {
		return
	}
	s.waking = false
	for s.head < len(s.queue) && (s.free <= now || s.rate == 0) {
		sent := s.queue[s.head]
		s.head++
		s.spend(now)
		s.out(now, sent)
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
		return
	}
	if s.head > 1024 {
		s.queue = append(s.queue[:0], s.queue[s.head:]...)
		s.head = 0
	}
	s.wake(now)
}

func (s *shaper) setRate(now time.Duration, rate bitrate.Rate) {
	if wait := s.free - now; wait > 0 && s.rate > 0 && rate > 0 {
		s.free = now + time.Duration(float64(wait)*float64(s.rate)/float64(rate))
	}
	s.rate = rate
	if s.head < len(s.queue) {
		s.waking = false // the time it was to wake at is no longer right
		s.wake(now)
	}
}
