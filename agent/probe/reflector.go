package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/alive"
)

// ReflectorOptions say whom a reflector answers. The zero value answers
// everybody, unauthenticated.
type ReflectorOptions struct {
	// Echo makes it a plain echo: datagrams go back as they came. What is about
	// STAMP must be left out then.
	Echo bool

	Keys     *Keyring       // of the authenticated mode
	AuthOnly bool           // unauthenticated packets are dropped
	Allow    []netip.Prefix // sources; none means all
	// Rate is how many packets a second one source address, or /64 of IPv6, may
	// send; the rest is dropped. Zero means DefaultRate.
	Rate float64
	// MinSourcePort is the lowest port that is answered; zero means
	// DefaultMinSourcePort. Unless it is 1, a packet from the reflector's own port
	// number is not answered either: two reflectors would answer each other.
	MinSourcePort uint16
	// ReplyDSCP is what senders may order for the answers by the class-of-service
	// extension, besides 0 and what the packet came with.
	ReplyDSCP stamp.Codepoints
	// Stateless numbers reflected packets like the sender did (RFC 8762 §4), and
	// remembers no sessions; a stateful reflector counts, which tells the direction
	// of a loss.
	Stateless bool
	// Turns is told of each turn of the loop, to notice one that hangs.
	Turns *alive.Part
}

const (
	// DefaultRate serves 100 sessions of 50 Hz from one address.
	DefaultRate = 5000
	// DefaultMinSourcePort keeps well-known services from being answered: an echo
	// or another reflector among them would answer in turn.
	DefaultMinSourcePort = 1024
)

// Reflector is a STAMP session-reflector, or a plain echo, on one socket.
type Reflector struct {
	conn  *net.UDPConn
	opts  ReflectorOptions
	own   uint16 // port
	table *sources
	loops repeats
	clock clockQuality
	in    batch
	out   batch
	read  int // packets in in
	n     int // packets in out, and answers
	// answers are those in out, not yet sealed.
	answers [batchSize]stamp.Answer
	receive func(uintptr) bool // receiveFrom and sendTo, made once
	send    func(uintptr)

	ledger ledger
}

// NewReflector returns a reflector that serves conn. Its metrics go to r.
func NewReflector(conn *net.UDPConn, opts ReflectorOptions, r prometheus.Registerer) (*Reflector, error) {
	if opts.Rate == 0 {
		opts.Rate = DefaultRate
	}
	if opts.MinSourcePort == 0 {
		opts.MinSourcePort = DefaultMinSourcePort
	}
	switch {
	case opts.AuthOnly && opts.Keys == nil:
		return nil, errors.New("a reflector that answers authenticated packets only needs keys")
	case opts.Echo && (opts.Keys != nil || opts.Stateless || opts.ReplyDSCP != 0):
		return nil, errors.New("a plain echo has no keys, no numbers and no extensions")
	}
	ref := &Reflector{
		conn: conn, opts: opts, own: conn.LocalAddr().(*net.UDPAddr).AddrPort().Port(),
		table: newSources(opts.Rate), loops: newRepeats(),
	}
	ref.receive, ref.send = ref.receiveFrom, ref.sendTo
	if r != nil {
		r.MustRegister(&ref.ledger)
	}
	if err := errors.Join(ref.in.open(), ref.out.open(), ref.prepare()); err != nil {
		ref.in.close()
		ref.out.close()
		return nil, err
	}
	return ref, nil
}

// Stats returns what became of the packets so far.
func (r *Reflector) Stats() ReflectorStats { return r.ledger.stats() }

// prepare asks the socket for what an answer needs to know of a packet.
func (r *Reflector) prepare() error {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("prepare the reflector's socket: %w", err)
	}
	return raw.Control(func(fd uintptr) {
		// Each is missing on some socket or kernel, and then the answer says
		// zero, or takes the time of reading for that of arrival.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW,
			unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE)
		receiveTTL(int(fd))
		receiveTOS(int(fd))
		receiveTo(int(fd))
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bufferSize)
	})
}

// Serve answers until ctx ends. It can be called once.
func (r *Reflector) Serve(ctx context.Context) error {
	defer r.opts.Turns.Leave()
	defer r.out.close()
	defer r.in.close()
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("serve the reflector: %w", err)
	}
	var closed sync.Once
	stop := context.AfterFunc(ctx, func() { closed.Do(func() { r.conn.Close() }) })
	defer stop()
	for ctx.Err() == nil {
		if err := r.turn(raw); err != nil && ctx.Err() == nil {
			return fmt.Errorf("reflector on %v: %w", r.conn.LocalAddr(), err)
		}
	}
	return nil
}

// turn waits for packets and answers those that are there.
func (r *Reflector) turn(raw syscall.RawConn) error {
	if err := raw.Read(r.receive); err != nil {
		return err
	}
	r.opts.Turns.Begin()
	defer r.opts.Turns.End()
	now := time.Now()
	keys := r.opts.Keys.Keys(now)
	r.n = 0
	for i := range r.read {
		if why := r.answer(i, now, keys, &r.answers[r.n]); why != accepted {
			r.ledger.dropped[why].Add(1)
		}
	}
	if r.n == 0 {
		return nil
	}
	return raw.Control(r.send)
}

// receiveFrom reads what is there, and asks to be called again if it is nothing.
func (r *Reflector) receiveFrom(fd uintptr) bool {
	var err error
	r.read, err = r.in.receive(int(fd), 0)
	return r.read > 0 || err != nil // an error is that of an earlier answer: nobody to tell
}

// sendTo sends the answers one by one: the time of sending is in the packet.
func (r *Reflector) sendTo(fd uintptr) {
	for i := range r.n {
		if !r.opts.Echo {
			r.answers[i].Seal(time.Now().UnixNano())
		}
		if _, err := mmsg(unix.SYS_SENDMMSG, int(fd), r.out.headers[i:i+1], 0); err == nil {
			r.ledger.answered.Add(1)
		}
	}
}

// answer prepares the answer to packet i, or says why there is none.
func (r *Reflector) answer(i int, now time.Time, keys []*stamp.Key, to *stamp.Answer) refusal {
	data, _ := r.in.packet(i)
	from, m := r.in.source(i), r.in.meta(i)
	switch {
	case m.many:
		return toMany
	case !r.allowed(from.Addr()):
		return badSource
	case from.Port() < r.opts.MinSourcePort, from.Port() == r.own && r.opts.MinSourcePort > 1:
		return badPort
	case !r.table.admit(from.Addr(), now):
		return overRate
	}
	if r.opts.Echo {
		if r.loops.again(from, data, now) {
			return looping
		}
		*to = stamp.Answer{Packet: append(r.out.packets[r.n][:0], data...), DSCP: m.tos >> 2}
		r.enqueue(i, *to, &m)
		return accepted
	}
	request, err := stamp.ParseRequest(data, keys, r.opts.AuthOnly)
	switch {
	case stamp.IsAuth(err):
		return unauthenticated
	case errors.Is(err, stamp.ErrAnswer):
		return isAnswer
	case err != nil:
		return malformed
	}
	in := stamp.Arrival{At: m.software, TTL: m.ttl, DSCP: m.tos >> 2, ECN: m.tos & 3, May: r.opts.ReplyDSCP}
	if in.At == 0 {
		in.At = now.UnixNano()
	}
	if !r.opts.Stateless {
		in.Rx, in.Tx, in.Counted = r.table.count(sessionKey{from, request.SSID, request.Key != nil}, request.Seq, request.At, now)
		in.Stateful = in.Counted
	}
	*to = stamp.Respond(r.out.packets[r.n][:0], request, in, r.clock.estimate(now, false))
	r.enqueue(i, *to, &m)
	return accepted
}

func (r *Reflector) allowed(from netip.Addr) bool {
	if len(r.opts.Allow) == 0 {
		return true
	}
	for _, p := range r.opts.Allow {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// enqueue makes the answer to packet i the next message to send.
func (r *Reflector) enqueue(i int, a stamp.Answer, m *meta) {
	n := r.n
	r.out.names[n] = r.in.names[i]
	control := r.out.control[n][:]
	level, option := int32(unix.IPPROTO_IP), int32(unix.IP_TOS)
	if r.in.isIPv6(i) {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	var tos [4]byte
	binary.NativeEndian.PutUint32(tos[:], uint32(a.DSCP)<<2)
	length := putControl(control, level, option, tos[:])
	length += m.putSource(control[length:])
	r.out.vectors[n].Base = &r.out.packets[n][0] // a.Packet may be empty
	r.out.vectors[n].SetLen(len(a.Packet))
	h := &r.out.headers[n].Hdr
	h.Name, h.Namelen = &r.out.names[n][0], r.in.headers[i].Hdr.Namelen
	h.Iov, h.Control = &r.out.vectors[n], &control[0]
	h.SetIovlen(1)
	h.SetControllen(length)
	r.n++
}
