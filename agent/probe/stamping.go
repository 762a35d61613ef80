package probe

import (
	"time"

	"golang.org/x/sys/unix"
)

// stamping is a socket that sends to itself, by which a Sender knows that the
// kernel stamps what arrives. The first socket of a host that asks for it has to
// wait: the kernel begins from a work queue (net_enable_timestamp), which takes
// milliseconds where the host is busy. An answer from before has no time of
// arrival. The socket keeps the kernel at it. A nil one says yes.
type stamping struct {
	fd    int
	until int64 // monotonic time at which it is believed without a proof
	on    bool
}

// stampingPatience is for how long packets wait for the kernel to begin.
const stampingPatience = 100 * time.Millisecond

func newStamping(now int64) *stamping {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	s := &stamping{fd: fd, until: now + int64(stampingPatience)}
	if err := s.toItself(); err != nil {
		s.close()
		return nil
	}
	return s
}

func (s *stamping) toItself() error {
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	own, err := unix.Getsockname(s.fd)
	if err != nil {
		return err
	}
	if err := unix.Connect(s.fd, own); err != nil {
		return err
	}
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE)
}

// ready reports whether answers will be stamped, or whether it is in vain to wait.
func (s *stamping) ready(now int64) bool {
	if s == nil || s.on {
		return true
	}
	s.on = now >= s.until
	for range 4 { // the loopback delivers at once, as a rule
		if _, err := unix.Write(s.fd, []byte{0}); err != nil {
			s.on = true // no loopback here
			break
		}
		if s.on = s.on || s.stamped(); s.on {
			break
		}
	}
	return s.on
}

// stamped reads what came, and reports whether some of it has its time of arrival.
func (s *stamping) stamped() bool {
	var data [1]byte
	var control [metaSize]byte
	for {
		_, n, _, _, err := unix.Recvmsg(s.fd, data[:], control[:], unix.MSG_DONTWAIT)
		if err != nil {
			return false
		}
		for rest := control[:n]; len(rest) >= unix.SizeofCmsghdr; {
			header, about, more, err := unix.ParseOneSocketControlMessage(rest)
			if err != nil {
				break
			}
			if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPING_NEW && len(about) >= 16 && timespec(about) > 0 {
				return true
			}
			rest = more
		}
	}
}

func (s *stamping) close() {
	if s != nil {
		unix.Close(s.fd)
	}
}
