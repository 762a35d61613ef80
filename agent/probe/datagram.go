package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// format is how one protocol's packets look. A socket carries one format and
// one packet size, so that our own packet is the tail of a looped-back frame,
// whatever headers come before it.
type format interface {
	// size is the length of a request.
	size() int
	// request writes packet seq of session number into b, size octets long; it is
	// the session's transmitted-th.
	request(b []byte, number uint16, seq, transmitted uint32)
	// reply reads what came from the network, or says why it is none.
	reply(b []byte) (reply, Reason)
	// own reads a request of ours, or as much of it as an ICMP error quotes.
	own(b []byte) (number uint16, seq uint32, ok bool)
}

// reply is the answer to one request.
type reply struct {
	number        uint16 // 0 if the reflector does not say
	seq           uint32
	answer        uint32 // the reflector's own number, or seq
	far, farReply int64  // the reflector's timestamps, ns on its clock; 0: none
	ttl           uint8  // with which the request came there; 0: not known
	heard         Heard
}

// datagram is the prober of every protocol that is one packet there and one
// back: a shared socket, a batch for sending and one for receiving.
type datagram struct {
	sender  *Sender
	format  format
	fd      int
	stamped bool
	awaited *os.File // fd once more, for the poller; nil where nothing awaits it
	checked bool     // answers must come from the target, its port included
	out, in batch
	queued  [batchSize]queued
	n       int
	unread  int // octets sent since the last collect

	seen   int // answers
	stamps int // send timestamps
}

// patience is how many answers may come before the first send timestamp; then
// the kernel gives none (as with net.core.tstamp_allow_data=0).
const patience = 20

type queued struct {
	session     *session
	slot        *slot
	transmitted uint32
}

func newDatagram(s *Sender, f format, k kind, typ, protocol int) (*datagram, error) {
	flags := stampFlags
	if s.user {
		flags = 0
	}
	d := &datagram{sender: s, format: f}
	var err error
	if d.fd, d.stamped, err = openSocket(k, typ, protocol, flags); err != nil {
		return nil, err
	}
	if err := errors.Join(d.out.open(), d.in.open()); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *datagram) queue(s *session, now int64) {
	i := d.n
	d.queued[i] = queued{s, s.take(now), uint32(s.totals.Sent)}
	d.write(i)
	size := d.format.size()
	d.out.vectors[i].Base = &d.out.packets[i][0]
	d.out.vectors[i].SetLen(size)
	h := &d.out.headers[i].Hdr
	h.Name, h.Namelen = &s.target.name[0], s.target.nameLen
	h.Iov, h.Control = &d.out.vectors[i], &s.target.control[0]
	h.SetIovlen(1)
	h.SetControllen(unix.CmsgSpace(4))
	d.n++
	d.unread += size
	if d.n == batchSize || !d.stamped { // unstamped, each packet needs its own reading of the clock
		d.flush()
	}
}

// write makes the packet of queued message i.
func (d *datagram) write(i int) {
	q := &d.queued[i]
	d.format.request(d.out.packets[i][:d.format.size()], q.session.number, q.slot.seq, q.transmitted)
}

// full reports whether answers and send timestamps may soon overflow the
// socket's buffer: packets that are long come back long.
func (d *datagram) full() bool { return d.unread >= maxUnreadOctets }

func (d *datagram) flush() {
	if d.n == 0 {
		return
	}
	now := d.sender.now()
	for i := range d.n {
		d.queued[i].slot.sent = now
		d.queued[i].session.sending(now)
	}
	again := true
	for sent := 0; sent < d.n; {
		n, err := mmsg(unix.SYS_SENDMMSG, d.fd, d.out.headers[sent:d.n], 0)
		sent += n
		switch {
		case err == nil && n > 0:
			again = true
		case err != nil && again:
			again = false // it may be an earlier packet's ICMP error: the next send reports it, whoever it is for
		default:
			if err == nil {
				err = unix.EAGAIN
			}
			d.refused(sent, err, now)
			sent, again = sent+1, true
		}
	}
	d.n = 0
}

// collect reads the answers first and the send timestamps after: a packet that
// was answered has left, so its timestamps are there.
func (d *datagram) collect(now int64) int {
	if d.seen >= patience && d.stamps == 0 {
		d.stamped = false
	}
	if d.awaits() && d.awaited == nil && d.sender.alarm != nil {
		d.await()
	}
	answers := 0
	d.unread = 0
	upTo(mostBatches, func() (more bool) {
		n, _ := d.in.receive(d.fd, 0) // an error is a pending ICMP error; the error queue has its details
		seen := d.sender.now()
		for i := range n {
			if d.answered(i, seen) {
				answers++
			}
		}
		return n == batchSize
	})
	upTo(mostBatches, func() (more bool) {
		n, _ := d.in.receive(d.fd, unix.MSG_ERRQUEUE)
		for i := range n {
			d.looped(i, now)
		}
		return n == batchSize
	})
	d.seen += answers
	return answers
}

// mostBatches is what is read at once, however fast more comes: meanwhile nothing is sent, and
// nothing of any session is told.
const mostBatches = 64

// upTo calls read while there is more, so many times at most.
func upTo(most int, read func() (more bool)) {
	for range most {
		if !read() {
			return
		}
	}
}

// refused takes back queued message i, which the kernel did not send: those of
// its session behind it are one fewer than they say.
func (d *datagram) refused(i int, err error, now int64) {
	q := d.queued[i]
	q.session.untake(q.slot)
	q.session.fail(fmt.Errorf("send to %v: %w", q.session.addr, err), now, now, lastBackoff)
	for j := i + 1; j < d.n; j++ {
		if d.queued[j].session == q.session {
			d.queued[j].transmitted--
			d.write(j)
		}
	}
}

func (d *datagram) answered(i int, seen int64) bool {
	data, truncated := d.in.packet(i)
	r, why := d.format.reply(data)
	if truncated {
		why = Oversized
	}
	var s *session
	if why == None {
		s, why = d.sessionOf(r, d.in.source(i))
	}
	if why != None {
		d.sender.drops[why]++
		return false
	}
	before := s.unique
	p, m := s.answer(r.seq, r.answer, seen), d.in.meta(i)
	if d.sender.opts.Extensions.any() {
		s.heard(r.heard, m.tos, s.unique > before)
	}
	if r.ttl != 0 {
		s.ttlThere = r.ttl
	}
	if m.ttl != 0 {
		s.ttlBack = m.ttl
	}
	if p == nil {
		return false
	}
	p.back, p.hwBack, p.far, p.farReply = m.software, m.hardware, r.far, r.farReply
	return true
}

// sessionOf finds the session that r belongs to, or says why there is none.
func (d *datagram) sessionOf(r reply, from netip.AddrPort) (*session, Reason) {
	if r.number == 0 {
		return d.sessionAt(r, from)
	}
	s := d.sender.numbers[r.number]
	switch {
	case s == nil || s.prober != prober(d):
		return nil, ForeignSession
	case d.checked && from != netip.AddrPortFrom(s.addr.Addr().WithZone(""), s.addr.Port()):
		return nil, ForeignSource
	case s.find(r.seq) == nil:
		return nil, UnknownNumber
	}
	return s, None
}

// sessionAt finds the session by its target and by the number of the packet, for
// STAMP reflectors that know nothing of session identifiers (RFC 8762, TWAMP
// Light).
func (d *datagram) sessionAt(r reply, from netip.AddrPort) (*session, Reason) {
	why := ForeignSource
	for _, s := range d.sender.sessions {
		if s.prober != prober(d) || s.addr.Port() != from.Port() || s.addr.Addr().WithZone("") != from.Addr() {
			continue
		}
		if s.find(r.seq) != nil {
			return s, None
		}
		why = UnknownNumber
	}
	return nil, why
}

// looped takes a send timestamp or an ICMP error to the packet it is about.
func (d *datagram) looped(i int, now int64) {
	data, _ := d.in.packet(i)
	m := d.in.meta(i)
	if m.looped {
		data = data[max(0, len(data)-d.format.size()):]
	}
	number, seq, ok := d.format.own(data)
	if !ok {
		return
	}
	s := d.sender.numbers[number]
	if s == nil {
		return
	}
	p := s.find(seq)
	switch {
	case p == nil:
	case m.failed != 0:
		s.fail(fmt.Errorf("probe %v: %w", s.addr, m.failed), p.sent, now, lastBackoff)
		s.unresolve()
	case !m.looped:
	case m.stamp == unix.SCM_TSTAMP_SCHED:
		p.queued = m.software
	case m.stamp == unix.SCM_TSTAMP_SND && m.hardware > 0:
		p.hwLeft = m.hardware
	case m.stamp == unix.SCM_TSTAMP_SND:
		p.left = m.software
		d.stamps++
	}
}

func (d *datagram) forget(*session) {}

func (d *datagram) awaits() bool { return !d.stamped }

// await makes answers wake the Sender's loop.
func (d *datagram) await() {
	// Go's poller owns what it waits for: it gets a descriptor of its own.
	fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return // no descriptor left: the next collect tries again
	}
	alarm, file := d.sender.alarm, os.NewFile(uintptr(fd), "probes")
	d.awaited = file
	d.sender.waiting.Go(func() { alarm.watch(file) })
}

func (d *datagram) close() {
	if d.awaited != nil {
		d.awaited.Close()
	}
	unix.Close(d.fd)
	d.in.close()
	d.out.close()
}
