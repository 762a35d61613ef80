package freeport

import (
	"errors"
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Ports are free, none is returned twice, and none is one that the kernel picks.
func TestPorts(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		addr := Addr(t)
		if seen[addr] {
			t.Errorf("%s twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < lowest || port >= highest {
			t.Errorf("port %d", port)
		}
	}
}

// A port that somebody was given is nobody else's, whether or not there is a server yet, or any
// more; one server at a time has it, on whichever address, and without one nobody answers.
func TestPortIsKept(t *testing.T) {
	port, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	kept := func(when string) {
		t.Helper()
		if err := keep(port); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: another one gets port %d as well: %v", when, port, err)
		}
	}
	kept("before it is used")
	for _, host := range []string{"127.0.0.1", ""} {
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		kept("while it is used")
		if second, err := net.Listen("tcp", addr); err == nil {
			second.Close()
			t.Errorf("two listen on %s", addr)
		}
		l.Close()
		kept("after it was used")
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("somebody answers at port %d: %v, %v", port, conn, err)
		}
	}
}
