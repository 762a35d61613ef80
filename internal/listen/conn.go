package listen

import (
	"net"
	"net/netip"
)

// state is what a connection does.
type state int

const (
	fresh  state = iota // no request has come yet
	idle                // none since the last one
	busy                // waits for an answer, or takes it
	proven              // its peer has a certificate that we trust
)

// conn is an accepted connection. What may change is guarded by its listener's
// lock.
type conn struct {
	net.Conn
	listener *Listener
	source   netip.Prefix
	state    state
	since    uint64 // when it came into its state, among all
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}

// abort closes without a farewell, so that the kernel keeps nothing of it.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// sourceOf is whom a connection is charged to: one who has an IPv6 address has
// the other 2^64 of its network as well.
func sourceOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return network(tcp.AddrPort())
}

// sourceOfText is sourceOf for the address of a request.
func sourceOfText(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	return network(at)
}

func network(at netip.AddrPort) netip.Prefix {
	addr := at.Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
