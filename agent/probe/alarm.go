package probe

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// alarm is how the Sender's loop sleeps: for a time, until it rings, or until a
// socket that cannot wait has something to read. It is a timerfd that Go's
// poller waits for. A Go timer would be up to a millisecond late, which is what
// epoll counts in; a system call that blocks, or might, wakes the runtime's
// monitor thread. At some hundred times a second that is most of what a small
// number of sessions costs.
type alarm struct {
	raw      syscall.RawConn
	rung     atomic.Bool
	readable atomic.Bool

	mu   sync.Mutex
	file *os.File // nil once closed
	fd   int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.close()
		return nil, fmt.Errorf("wait for a timerfd: %w", err)
	}
	return a, nil
}

func (a *alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // zero would disarm it
	_ = unix.TimerfdSettime(a.fd, 0, &spec, nil)                          // cannot fail with these arguments
}

// ring ends the current wait, or the next.
func (a *alarm) ring() {
	a.rung.Store(true)
	a.set(0)
}

// wait sleeps for d at most, and reports whether a socket ended it.
func (a *alarm) wait(d time.Duration) (readable bool) {
	a.set(d)
	if !a.rung.Load() { // a ring from here on comes after the setting, and counts
		_ = a.raw.Read(expired) // fails only when closed, which the loop's end is
	}
	a.rung.Store(false)
	return a.readable.Swap(false)
}

// expired reports whether the timerfd has, and forgets it.
func expired(fd uintptr) bool {
	var times [8]byte
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&times)), unsafe.Sizeof(times))
	return errno != unix.EAGAIN
}

// watch rings whenever there is something to read from file, until that is closed.
func (a *alarm) watch(file *os.File) {
	raw, err := file.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Read(func(uintptr) bool {
		a.readable.Store(true)
		a.ring()
		return false // wait for more
	})
}

func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.file.Close()
	a.file = nil
}
