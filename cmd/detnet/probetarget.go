//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/workload"
)

// target reads HOST[:PORT]; STAMP has a port of its own, ICMP has none. An IPv6
// address may be in brackets, and has to be before a port.
func target(s *probe.Session, text string) error {
	s.ID, s.Host = text, text
	if text == "" || strings.ContainsAny(text, "/@ ") {
		return fmt.Errorf("%q must be a host, such as 10.1.2.3, robot.lab:862 or [2001:db8::1]:862", text)
	}
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(text, "]") {
		s.Host = strings.TrimSuffix(inner, "]")
	} else if host, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("port %q of %s must be from 1 to 65535", port, text)
		}
		s.Host, s.Port = host, uint16(n)
	}
	switch s.Protocol {
	case workload.STAMP:
		if s.Port == 0 {
			s.Port = workload.STAMPPort
		}
	case workload.UDP, workload.TCP:
	case workload.ICMP:
		s.Port = 0
	default:
		return fmt.Errorf("--protocol=%s must be stamp, udp, tcp or icmp", s.Protocol)
	}
	return s.Validate()
}

// mostPorts bounds the sessions of one target.
const mostPorts = 64

// localAddresses are where --bind and --source-port want packets to be sent from.
func localAddresses(bind, ports string) ([]netip.AddrPort, error) {
	var addr netip.Addr
	if bind != "" {
		var err error
		if addr, err = netip.ParseAddr(bind); err != nil {
			return nil, fmt.Errorf("--bind=%s must be an address of this host: %w", bind, err)
		}
	}
	if ports == "" {
		return []netip.AddrPort{netip.AddrPortFrom(addr, 0)}, nil
	}
	var all []netip.AddrPort
	for _, part := range strings.Split(ports, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(low, 10, 16)
		to, errTo := strconv.ParseUint(high, 10, 16)
		if err != nil || errTo != nil || from == 0 || to < from {
			return nil, fmt.Errorf("--source-port=%s: %q must be a port from 1 to 65535, or a range of them such as 50000-50007", ports, part)
		}
		for port := from; port <= to; port++ {
			if all = append(all, netip.AddrPortFrom(addr, uint16(port))); len(all) > mostPorts {
				return nil, fmt.Errorf("--source-port=%s: more than %d ports", ports, mostPorts)
			}
		}
	}
	return all, nil
}
