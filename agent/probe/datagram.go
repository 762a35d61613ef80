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
	// request writes packet seq of session number into b, size octets long.
	request(b []byte, number uint16, seq uint32)
	// reply reads what came from the network.
	reply(b []byte) (reply, error)
	// own reads a request of ours, or as much of it as an ICMP error quotes.
	own(b []byte) (number uint16, seq uint32, ok bool)
}

// reply is the answer to one request.
type reply struct {
	number        uint16 // 0 if the reflector does not say
	seq           uint32
	far, farReply int64 // the reflector's timestamps, ns on its clock; 0: none
	heard         Heard
}

// Drops counts received packets that were not the answer to a probe, by reason.
type Drops struct {
	Malformed uint64 // too short, too long or not of this format
	Forged    uint64 // the format, but not our key
	Unknown   uint64 // no such session, or a packet it never sent
	Source    uint64 // from elsewhere than the session's target
}

// Plus adds two counts.
func (d Drops) Plus(e Drops) Drops {
	return Drops{d.Malformed + e.Malformed, d.Forged + e.Forged, d.Unknown + e.Unknown, d.Source + e.Source}
}

// ByReason returns the counts by the reason's name.
func (d Drops) ByReason() map[string]uint64 {
	return map[string]uint64{"malformed": d.Malformed, "forged": d.Forged, "unknown": d.Unknown, "source": d.Source}
}

var (
	errMalformed = errors.New("malformed packet")
	errForged    = errors.New("packet with a wrong key")
)

// datagram is the prober of every protocol that is one packet there and one
// back: a shared socket, a batch for sending and one for receiving.
type datagram struct {
	sender  *Sender
	format  format
	fd      int
	stamped bool
	awaited *os.File // fd once more, for the poller; nil where nothing awaits it
	checked bool     // answers must come from the target
	out, in batch
	queued  [batchSize]queued
	n       int

	seen   int // answers
	stamps int // send timestamps
}

// patience is how many answers may come before the first send timestamp; then
// the kernel gives none (as with net.core.tstamp_allow_data=0).
const patience = 20

type queued struct {
	session *session
	slot    *slot
}

func newDatagram(s *Sender, f format, ipv6 bool, typ, protocol int) (*datagram, error) {
	flags := stampFlags
	if s.user {
		flags = 0
	}
	fd, stamped, err := openSocket(ipv6, typ, protocol, flags)
	if err != nil {
		return nil, err
	}
	return &datagram{sender: s, format: f, fd: fd, stamped: stamped}, nil
}

func (d *datagram) queue(s *session, now int64) {
	p := s.take(now)
	i := d.n
	size := d.format.size()
	d.format.request(d.out.packets[i][:size], s.number, p.seq)
	d.out.vectors[i].Base = &d.out.packets[i][0]
	d.out.vectors[i].SetLen(size)
	h := &d.out.headers[i].Hdr
	h.Name, h.Namelen = &s.target.name[0], s.target.nameLen
	h.Iov, h.Control = &d.out.vectors[i], &s.target.control[0]
	h.SetIovlen(1)
	h.SetControllen(unix.CmsgSpace(4))
	d.queued[i] = queued{s, p}
	d.n++
	if d.n == batchSize || !d.stamped { // unstamped, each packet needs its own reading of the clock
		d.flush()
	}
}

func (d *datagram) flush() {
	if d.n == 0 {
		return
	}
	now := d.sender.now()
	for i := range d.n {
		d.queued[i].slot.sent = now
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
			q := d.queued[sent]
			q.session.untake(q.slot)
			q.session.fail(fmt.Errorf("send to %v: %w", q.session.addr, err), now, now)
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
	for {
		n, err := d.in.receive(d.fd, 0)
		if err != nil && n == 0 {
			break // a pending ICMP error; the error queue has its details
		}
		seen := d.sender.now()
		for i := range n {
			if d.answered(i, seen) {
				answers++
			}
		}
		if n < batchSize {
			break
		}
	}
	for {
		n, err := d.in.receive(d.fd, unix.MSG_ERRQUEUE)
		if err != nil {
			break
		}
		for i := range n {
			d.looped(i, now)
		}
		if n < batchSize {
			break
		}
	}
	d.seen += answers
	return answers
}

func (d *datagram) answered(i int, seen int64) bool {
	drops := &d.sender.drops
	data, truncated := d.in.packet(i)
	r, err := d.format.reply(data)
	switch {
	case truncated, errors.Is(err, errMalformed):
		drops.Malformed++
		return false
	case err != nil:
		drops.Forged++
		return false
	}
	s := d.sender.numbers[r.number]
	if r.number == 0 {
		s = d.sessionAt(d.in.source(i))
	}
	if s == nil || s.prober != prober(d) || s.find(r.seq) == nil {
		drops.Unknown++
		return false
	}
	if d.checked && d.in.source(i).Addr() != s.addr.Addr() {
		drops.Source++
		return false
	}
	p, m := s.answer(r.seq, seen), d.in.meta(i)
	if r.heard.HasCoS || r.heard.HasDirect {
		s.heard(r.heard, m.tos)
	}
	if p == nil {
		return false
	}
	p.back, p.hwBack, p.far, p.farReply = m.software, m.hardware, r.far, r.farReply
	return true
}

// sessionAt finds the session by its target, for STAMP reflectors that know
// nothing of session identifiers (RFC 8762, TWAMP Light).
func (d *datagram) sessionAt(from netip.AddrPort) *session {
	for _, s := range d.sender.sessions {
		if s.prober == prober(d) && s.addr == from {
			return s
		}
	}
	return nil
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
		s.fail(fmt.Errorf("probe %v: %w", s.addr, m.failed), p.sent, now)
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
}
