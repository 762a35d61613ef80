package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/workload"
)

// ListenReflector opens the socket of a reflector on addr, which flag gave; an
// error names the flag, and says what is in the way.
func ListenReflector(flag, addr string) (*net.UDPConn, error) {
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s=%s must be an address to listen on, such as :862 or 192.0.2.1:862: %w", flag, addr, err)
	}
	conn, err := net.ListenUDP("udp", udp)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("open the reflector: another program has port %d; stop it, or choose another one with %s: %w", udp.Port, flag, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("open the reflector: port %d needs root, NET_BIND_SERVICE or a lower net.ipv4.ip_unprivileged_port_start; "+
			"choose another one with %s: %w", udp.Port, flag, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("open the reflector: this host does not have the address of %s=%s: %w", flag, addr, err)
	}
	return nil, fmt.Errorf("open the reflector: %w", err)
}

// ParseSources reads whom a reflector answers: a prefix or one address.
func ParseSources(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q must be a prefix, such as 10.0.0.0/8, or an address", text)
	}
	return prefix, nil
}

// ParseReplyDSCP reads what senders may order for their answers: a codepoint or all.
func ParseReplyDSCP(text string) (stamp.Codepoints, error) {
	if text == "all" {
		return ^stamp.Codepoints(0), nil
	}
	d, err := workload.ParseDSCP(text)
	if err != nil {
		return 0, fmt.Errorf("neither all nor a codepoint: %w", err)
	}
	return stamp.Codepoint(uint8(d)), nil
}
