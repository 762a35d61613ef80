package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// path is how packets leave this host. Sessions that leave alike share a
// socket. The zero value leaves everything to the kernel.
type path struct {
	local    netip.AddrPort // no address: any; port 0: any
	device   string
	size     int // of the IP packet, octets; 0: as short as the protocol allows
	fragment fragmentation
	ttl      uint8 // 0: 255
}

// fragmentation says what becomes of packets that are too long for a link.
type fragmentation bool

const (
	mayFragment  fragmentation = false // as the kernel likes
	dontFragment fragmentation = true  // they are dropped, and an error says so
)

func (s Session) path() path {
	return path{s.Local, s.Interface, s.Size, fragmentation(s.DontFragment), s.TTL}
}

// Headers before a datagram.
const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
)

// payload is how many octets are left of a packet of size octets.
func payload(size int, ipv6 bool, header int) int {
	if ipv6 {
		return size - ipv6Header - header
	}
	return size - ipv4Header - header
}

// scopeOf is the interface that the zone of a link-local address names; 0 for
// none.
func scopeOf(addr netip.Addr) uint32 {
	if addr.Zone() == "" {
		return 0
	}
	scope, _ := zoneIndex(addr.Zone())
	return scope
}

func zoneIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil && n > 0 {
		return uint32(n), nil
	}
	link, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %%%s: no such interface on this host", zone)
	}
	return uint32(link.Index), nil
}

// openSocket opens a non-blocking datagram socket for k that reports errors and,
// if it can, timestamps.
func openSocket(k kind, typ, protocol, flags int) (fd int, stamped bool, err error) {
	family, level, recverr, ttl := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR, unix.IP_TTL
	if k.ipv6 {
		family, level, recverr, ttl = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, unix.IPV6_UNICAST_HOPS
	}
	fd, err = unix.Socket(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, false, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, level, recverr, 1); err != nil {
		unix.Close(fd)
		return -1, false, fmt.Errorf("ask for ICMP errors: %w", err)
	}
	hops := 255 // lets a STAMP reflector see the path length
	if k.path.ttl != 0 {
		hops = int(k.path.ttl)
	}
	// Neither is needed to measure: the default buffer holds about 200 packets.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferSize)
	_ = unix.SetsockoptInt(fd, level, ttl, hops)
	if err := k.path.apply(fd, k.ipv6); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	stamped = flags != 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, flags) == nil
	return fd, stamped, nil
}

// apply binds a socket to the path.
func (p path) apply(fd int, ipv6 bool) error {
	if p.device != "" {
		if err := unix.BindToDevice(fd, p.device); err != nil {
			return fmt.Errorf("bind to interface %s: %w", p.device, err)
		}
	}
	if p.fragment == dontFragment {
		level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE
		if ipv6 {
			level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE
		}
		if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
			return fmt.Errorf("forbid fragments: %w", err)
		}
	}
	if p.local == (netip.AddrPort{}) {
		return nil
	}
	var to unix.Sockaddr
	addr := p.local.Addr()
	switch {
	case ipv6:
		six := &unix.SockaddrInet6{Port: int(p.local.Port()), ZoneId: scopeOf(addr)}
		if addr.IsValid() {
			six.Addr = addr.As16()
		}
		to = six
	default:
		four := &unix.SockaddrInet4{Port: int(p.local.Port())}
		if addr.IsValid() {
			if !addr.Unmap().Is4() {
				return fmt.Errorf("bind to %v: the target has an IPv4 address", addr)
			}
			four.Addr = addr.Unmap().As4()
		}
		to = four
	}
	if err := unix.Bind(fd, to); err != nil {
		return fmt.Errorf("send from %s: %w", LocalName(p.local), err)
	}
	return nil
}

// LocalName is what a local address is called that may lack its address or its port.
func LocalName(local netip.AddrPort) string {
	switch {
	case !local.Addr().IsValid():
		return fmt.Sprintf("port %d", local.Port())
	case local.Port() == 0:
		return local.Addr().String()
	}
	return local.String()
}
