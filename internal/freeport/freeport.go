// Package freeport finds ports for what is told its port before it listens: programs and
// servers that a test starts.
package freeport

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// The kernel gives nobody one of these by itself (Linux begins at 32768, the IANA's dynamic
// ports at 49152), so nobody takes one between the question and its use by accident.
const lowest, highest = 20_000, 30_000

var asked atomic.Int64

// Port returns a TCP port that is free on every address. No port is returned twice, and
// processes that ask at the same time begin far from each other.
func Port() (int, error) {
	for range highest - lowest {
		port := lowest + (os.Getpid()*101+int(asked.Add(1)))%(highest-lowest)
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
		if err != nil {
			continue // somebody has it
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("find a free TCP port: every one from %d to %d is taken", lowest, highest)
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
