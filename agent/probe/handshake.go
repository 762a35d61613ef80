package probe

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handshake is the prober of TCP: it opens a connection and reads the round
// trip that the kernel measured on SYN and SYN-ACK from TCP_INFO. It closes
// with a reset, so that no connection lingers on either side, or with a FIN,
// which leaves one in TIME_WAIT here for a minute.
type handshake struct {
	sender   *Sender
	ipv6     bool
	epoll    int
	events   [batchSize]unix.EpollEvent
	info     unix.TCPInfo
	interest unix.EpollEvent
	fds      map[int32]connecting
}

type connecting struct {
	session *session
	seq     uint32
	sent    int64
}

func newHandshake(s *Sender, ipv6 bool) (*handshake, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &handshake{sender: s, ipv6: ipv6, epoll: epoll, fds: map[int32]connecting{}}, nil
}

func (h *handshake) queue(s *session, now int64) {
	p := s.take(now)
	fd, err := h.connect(s)
	if err != nil {
		s.untake(p)
		s.fail(fmt.Errorf("connect to %v: %w", s.addr, err), now, now, lastBackoff)
		return
	}
	p.fd = int32(fd)
	s.sending(now)
	h.fds[p.fd] = connecting{s, p.seq, now}
}

// connect begins a handshake. The plain system calls spare the addresses and
// options that x/sys/unix would allocate each time; none of them waits, so that
// the runtime need not be told.
func (h *handshake) connect(s *session) (int, error) {
	family, level, tos := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TOS
	if h.ipv6 {
		family, level, tos = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if !h.sender.opts.FIN {
		err = setsockopt(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&resetOnClose), unix.SizeofLinger)
	}
	if err == nil && s.DSCP != 0 {
		octet := int32(s.DSCP) << 2
		err = setsockopt(fd, level, tos, unsafe.Pointer(&octet), unsafe.Sizeof(octet))
	}
	if err == nil {
		_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&s.target.name[0])), uintptr(s.target.nameLen))
		if errno != 0 && errno != unix.EINPROGRESS {
			err = errno
		}
	}
	if err == nil {
		h.interest = unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)}
		_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(h.epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&h.interest)), 0, 0)
		if errno != 0 {
			err = errno
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setsockopt(fd, level, option int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

var resetOnClose = unix.Linger{Onoff: 1}

const tcpClose = 7 // TCP_CLOSE of linux/tcp_states.h: refused, or reset

// roundTrip reads what the kernel measured; false if the SYN was sent again.
func (h *handshake) roundTrip(fd int32) (time.Duration, bool) {
	size := uint32(unix.SizeofTCPInfo)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&h.info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		h.info = unix.TCPInfo{State: tcpClose}
	}
	return time.Duration(h.info.Rtt) * time.Microsecond, errno == 0 && h.info.Total_retrans == 0
}

func (h *handshake) flush() {}

func (h *handshake) full() bool { return false }

func (h *handshake) collect(now int64) int {
	answers := 0
	for {
		n, err := unix.EpollWait(h.epoll, h.events[:], 0)
		if err != nil && err != unix.EINTR {
			break
		}
		for i := range max(n, 0) {
			if h.finish(h.events[i].Fd) {
				answers++
			}
		}
		if n < batchSize {
			break
		}
	}
	for fd, c := range h.fds {
		if p := c.session.find(c.seq); p == nil || now-p.sent >= int64(c.session.Timeout) {
			h.drop(fd)
		}
	}
	return answers
}

func (h *handshake) finish(fd int32) bool {
	c, ok := h.fds[fd]
	if !ok {
		return false
	}
	defer h.drop(fd)
	now := h.sender.now()
	rtt, ok := h.roundTrip(fd)
	if h.info.State == tcpClose {
		code, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		c.session.fail(fmt.Errorf("connect to %v: %w", c.session.addr, unix.Errno(code)), c.sent, now, lastBackoff)
		c.session.unresolve()
		return false
	}
	if !ok {
		return false // the first SYN or its answer was lost, and so is the packet
	}
	p := c.session.answer(c.seq, c.seq, now)
	if p == nil {
		return false
	}
	p.rtt = int64(rtt)
	return true
}

func (h *handshake) drop(fd int32) {
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) // leaves the epoll set by itself
	delete(h.fds, fd)
}

func (h *handshake) forget(s *session) {
	for fd, c := range h.fds {
		if c.session == s {
			h.drop(fd)
		}
	}
}

func (h *handshake) awaits() bool { return false }

func (h *handshake) close() {
	for fd := range h.fds {
		h.drop(fd)
	}
	unix.Close(h.epoll)
}
