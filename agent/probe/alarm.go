package probe

import (
	"encoding/binary"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is how the Sender's loop sleeps: one ppoll for a time, for a ring and
// for sockets that cannot wait. A Go timer would do the first two, at the price
// of waking several threads each time; at some hundred times a second that is
// most of what a small number of sessions costs.
type alarm struct {
	polled []unix.PollFd // the ring first

	mu sync.Mutex
	fd int // -1 once closed
}

func newAlarm() (*alarm, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &alarm{polled: []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, fd: fd}, nil
}

// ring ends the current wait, or the next.
func (a *alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd >= 0 {
		_, _ = unix.Write(a.fd, binary.NativeEndian.AppendUint64(nil, 1)) // fails only if it rings already
	}
}

// also makes wait end when one of the probers that await their packets can read.
func (a *alarm) also(probers map[kind]prober) {
	a.polled = a.polled[:1]
	for _, p := range probers {
		if fd := p.awaits(); fd >= 0 {
			a.polled = append(a.polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
}

// wait sleeps for d at most, and reports whether a socket ended it.
func (a *alarm) wait(d time.Duration) (readable bool) {
	timeout := unix.NsecToTimespec(int64(max(d, 0)))
	n, err := unix.Ppoll(a.polled, &timeout, nil)
	if err != nil || n == 0 {
		return false
	}
	if a.polled[0].Revents == 0 {
		return true
	}
	var b [8]byte
	_, _ = unix.Read(int(a.polled[0].Fd), b[:])
	return n > 1
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	unix.Close(a.fd)
	a.fd = -1
}
