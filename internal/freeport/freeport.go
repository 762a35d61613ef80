// Package freeport finds ports for what is told its port before it listens: programs and
// servers that a test starts.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Linux gives nobody one of these by itself, unless it is told to: it begins at 32768.
const lowest, highest = 20_000, 30_000

var asked atomic.Int64

// Port returns a TCP port that is free on every address, and keeps it for this process and
// for those that it names the port to: until this process ends, neither another that asks
// here nor the kernel takes it.
func Port() (int, error) {
	for range highest - lowest {
		port := lowest + (os.Getpid()*101+int(asked.Add(1)))%(highest-lowest)
		if err := keep(port); errors.Is(err, unix.EADDRINUSE) {
			continue // somebody has it
		} else if err != nil {
			return 0, fmt.Errorf("keep TCP port %d: %w", port, err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("find a free TCP port: every one from %d to %d is taken", lowest, highest)
}

// keep binds a socket to the port, which never listens. Only once it has the port, by itself,
// does it say that it shares: who listens, as Go's servers do, with SO_REUSEADDR may do so
// then, one at a time, as if nobody had the port.
func keep(port int) error {
	family, any := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: port})
	fd, err := socket(family)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		family, any = unix.AF_INET, &unix.SockaddrInet4{Port: port}
		fd, err = socket(family)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)) // IPv4's addresses too
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, any))
	}
	if err == nil {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	}
	if err != nil {
		unix.Close(fd)
	}
	return err
}

// socket makes one that no program inherits that another goroutine starts meanwhile: it would
// keep the port for as long as it runs.
func socket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// Addr returns an address of the loopback with such a port.
func Addr(t testing.TB) string {
	t.Helper()
	port, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
