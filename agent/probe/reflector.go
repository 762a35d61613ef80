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
)

// ReflectorOptions say whom a reflector answers. The zero value answers
// everybody, unauthenticated.
type ReflectorOptions struct {
	Keys     *Keyring       // of the authenticated mode
	AuthOnly bool           // unauthenticated packets are dropped
	Allow    []netip.Prefix // sources; none means all
	// Rate is how many packets a second one source address may send; the rest
	// is dropped. Zero means DefaultRate.
	Rate float64
	// Stateless numbers reflected packets like the sender did (RFC 8762 §4);
	// a stateful reflector counts, which tells the direction of a loss.
	Stateless bool
}

// DefaultRate serves 100 sessions of 50 Hz from one address.
const DefaultRate = 5000

// Reflector is a STAMP session-reflector on one socket.
type Reflector struct {
	conn  *net.UDPConn
	opts  ReflectorOptions
	table *sources
	in    batch
	out   batch
	read  int // packets in in
	n     int // packets in out, and answers
	// answers are those in out, not yet sealed.
	answers [batchSize]stamp.Answer
	receive func(uintptr) bool // receiveFrom and sendTo, made once
	send    func(uintptr)

	answered prometheus.Counter
	dropped  *prometheus.CounterVec
}

// NewReflector returns a reflector that serves conn. Its metrics go to r.
func NewReflector(conn *net.UDPConn, opts ReflectorOptions, r prometheus.Registerer) (*Reflector, error) {
	if opts.Rate == 0 {
		opts.Rate = DefaultRate
	}
	if opts.AuthOnly && opts.Keys == nil {
		return nil, errors.New("a reflector that answers authenticated packets only needs keys")
	}
	ref := &Reflector{
		conn: conn, opts: opts, table: newSources(opts.Rate),
		answered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "detnet_reflector_packets_total", Help: "Test packets answered."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_reflector_dropped_packets_total", Help: "Packets not answered, by reason."}, []string{"reason"}),
	}
	ref.receive, ref.send = ref.receiveFrom, ref.sendTo
	if r != nil {
		r.MustRegister(ref.answered, ref.dropped)
	}
	return ref, ref.prepare()
}

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
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		receiveTOS(int(fd))
		receiveTo(int(fd))
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bufferSize)
	})
}

// Serve answers until ctx ends.
func (r *Reflector) Serve(ctx context.Context) error {
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
	now := time.Now()
	keys := r.opts.Keys.Keys(now)
	r.n = 0
	for i := range r.read {
		if reason := r.answer(i, now, keys, &r.answers[r.n]); reason != "" {
			r.dropped.WithLabelValues(reason).Inc()
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
		r.answers[i].Seal(time.Now().UnixNano())
		if _, err := mmsg(unix.SYS_SENDMMSG, int(fd), r.out.headers[i:i+1], 0); err == nil {
			r.answered.Inc()
		}
	}
}

// answer prepares the answer to packet i, or says why there is none.
func (r *Reflector) answer(i int, now time.Time, keys []*stamp.Key, to *stamp.Answer) (reason string) {
	data, truncated := r.in.packet(i)
	from := r.in.source(i)
	switch {
	case truncated:
		return "oversized"
	case !r.allowed(from.Addr()):
		return "source"
	case !r.table.admit(from.Addr(), now):
		return "rate"
	}
	m := r.in.meta(i)
	in := stamp.Arrival{At: m.software, TTL: m.ttl, DSCP: m.tos >> 2, ECN: m.tos & 3, Stateful: !r.opts.Stateless}
	if in.At == 0 {
		in.At = now.UnixNano()
	}
	t, key, _, err := stamp.ParseTest(data, keys)
	if err != nil && len(keys) > 0 && !r.opts.AuthOnly {
		keys = nil
		t, key, _, err = stamp.ParseTest(data, nil)
	}
	switch {
	case stamp.IsAuth(err), r.opts.AuthOnly && err != nil:
		return "unauthenticated"
	case err != nil:
		return "malformed"
	}
	in.Rx, in.Tx = r.table.count(sessionKey{from, t.SSID, key != nil}, t.Seq, now)
	if in.Tx == 0 {
		in.Stateful = false // no room to remember the session
	}
	a, err := stamp.Respond(r.out.packets[r.n][:0], data, keys, in, clockError)
	if err != nil {
		return "malformed"
	}
	*to = a
	r.enqueue(i, a, &m)
	return ""
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
	r.out.vectors[n].Base = &a.Packet[0]
	r.out.vectors[n].SetLen(len(a.Packet))
	h := &r.out.headers[n].Hdr
	h.Name, h.Namelen = &r.out.names[n][0], r.in.headers[i].Hdr.Namelen
	h.Iov, h.Control = &r.out.vectors[n], &control[0]
	h.SetIovlen(1)
	h.SetControllen(length)
	r.n++
}
