package probe

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is a destination in the form that sendmmsg takes: the socket address
// and the control message that sets the DSCP of one packet.
type target struct {
	name    [unix.SizeofSockaddrInet6]byte
	nameLen uint32
	control [24]byte
}

func targetOf(addr netip.AddrPort, dscp uint8) target {
	var t target
	ip := addr.Addr()
	level, option := int32(unix.IPPROTO_IP), int32(unix.IP_TOS)
	binary.BigEndian.PutUint16(t.name[2:], addr.Port())
	scope := scopeOf(ip)
	if ip.Is4() {
		binary.NativeEndian.PutUint16(t.name[:], unix.AF_INET)
		v4 := ip.As4()
		copy(t.name[4:], v4[:])
		t.nameLen = unix.SizeofSockaddrInet4
	} else {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		binary.NativeEndian.PutUint16(t.name[:], unix.AF_INET6)
		v6 := ip.As16()
		copy(t.name[8:], v6[:])
		binary.NativeEndian.PutUint32(t.name[24:], scope)
		t.nameLen = unix.SizeofSockaddrInet6
	}
	putControl(t.control[:], level, option, binary.NativeEndian.AppendUint32(nil, uint32(dscp)<<2))
	return t
}

const (
	batchSize  = 64
	metaSize   = 256 // control messages of one packet
	bufferSize = 1 << 20
)

// receive reads up to batchSize packets, or looped-back ones and errors where
// flags has MSG_ERRQUEUE. Zero means that there are none.
func (b *batch) receive(fd, flags int) (int, error) {
	for i := range b.headers {
		h := &b.headers[i].Hdr
		b.vectors[i].Base = &b.packets[i][0]
		b.vectors[i].SetLen(maxPacket)
		h.Iov, h.Control, h.Name = &b.vectors[i], &b.control[i][0], &b.names[i][0]
		h.SetIovlen(1)
		h.SetControllen(metaSize)
		h.Namelen = unix.SizeofSockaddrInet6
	}
	return mmsg(unix.SYS_RECVMMSG, fd, b.headers[:], flags|unix.MSG_DONTWAIT)
}

func mmsg(call uintptr, fd int, headers []unix.Mmsghdr, flags int) (int, error) {
	for {
		// Raw, because with MSG_DONTWAIT or a socket's empty buffer it does not
		// wait: the runtime need not be told.
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), uintptr(flags), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, errno
		}
	}
}

// packet returns what receive read at index i.
func (b *batch) packet(i int) (data []byte, truncated bool) {
	h := &b.headers[i]
	return b.packets[i][:min(h.Len, maxPacket)], h.Hdr.Flags&unix.MSG_TRUNC != 0
}

// source returns the sender of packet i.
func (b *batch) source(i int) netip.AddrPort {
	name := &b.names[i]
	port := binary.BigEndian.Uint16(name[2:])
	switch binary.NativeEndian.Uint16(name[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// isIPv6 reports whether packet i came over IPv6, and not over IPv4 to a socket
// of both families.
func (b *batch) isIPv6(i int) bool {
	name := &b.names[i]
	return binary.NativeEndian.Uint16(name[:]) == unix.AF_INET6 && !netip.AddrFrom16([16]byte(name[8:24])).Is4In6()
}

// meta is what the kernel says about a packet in its control messages.
type meta struct {
	software, hardware int64 // CLOCK_REALTIME and the NIC's clock, ns; 0: not given
	looped             bool  // a send timestamp with our own packet
	stamp              uint32
	failed             unix.Errno // an ICMP error about our own packet
	tos, ttl           uint8
	to                 netip.Addr // our own address, where receiveTo asked for it
	via                uint32     // interface that it came by, likewise
	many               bool       // it was sent to a broadcast or multicast address
}

// meta reads the control messages of packet i.
func (b *batch) meta(i int) meta {
	var m meta
	rest := b.control[i][:min(int(b.headers[i].Hdr.Controllen), metaSize)]
	for len(rest) >= unix.SizeofCmsghdr {
		header, data, remainder, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return m
		}
		rest = remainder
		switch {
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPING_NEW && len(data) >= 48:
			m.software, m.hardware = timespec(data), timespec(data[32:])
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_RECVERR,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_RECVERR:
			m.extended(data)
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_TOS && len(data) >= 1,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_TCLASS && len(data) >= 1:
			m.tos = firstOctet(data)
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_TTL && len(data) >= 1,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_HOPLIMIT && len(data) >= 1:
			m.ttl = firstOctet(data)
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			m.via, m.to = binary.NativeEndian.Uint32(data), netip.AddrFrom4([4]byte(data[4:8]))
			// The header's address is our own one unless it is one of many hosts.
			m.many = m.many || [4]byte(data[4:8]) != [4]byte(data[8:12])
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			m.via, m.to = binary.NativeEndian.Uint32(data[16:]), netip.AddrFrom16([16]byte(data[:16]))
			m.many = m.many || m.to.Unmap().IsMulticast()
		}
	}
	return m
}

// firstOctet reads a small number that the kernel gives as one octet or as an int.
func firstOctet(data []byte) uint8 {
	if len(data) >= 4 {
		return uint8(binary.NativeEndian.Uint32(data))
	}
	return data[0]
}

// extended reads struct sock_extended_err.
func (m *meta) extended(data []byte) {
	if len(data) < 16 {
		return
	}
	switch data[4] {
	case unix.SO_EE_ORIGIN_TIMESTAMPING:
		m.looped, m.stamp = true, binary.NativeEndian.Uint32(data[8:])
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6, unix.SO_EE_ORIGIN_LOCAL:
		m.failed = unix.Errno(binary.NativeEndian.Uint32(data))
	}
}

// timespec reads struct __kernel_timespec in nanoseconds.
func timespec(data []byte) int64 {
	return int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
}

// stampFlags asks for every timestamp that the kernel and the NIC have. The
// packet itself comes back with it (no OPT_TSONLY): it says without doubt which
// one was stamped, where a counter would be off by one after a failed send.
const stampFlags = unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE |
	unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE |
	unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_TX_HARDWARE |
	unix.SOF_TIMESTAMPING_OPT_CMSG | unix.SOF_TIMESTAMPING_OPT_TX_SWHW

// receiveTOS asks for the DSCP and ECN of what comes. One of the two is of
// another family than the socket's, and fails.
func receiveTOS(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
}

// receiveTTL asks for the hop limit of what comes, likewise.
func receiveTTL(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
}

// receiveTo asks to which of our addresses packets were sent.
func receiveTo(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// putControl writes a control message to the beginning of b and returns its
// length.
func putControl(b []byte, level, typ int32, data []byte) int {
	header := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	header.Level, header.Type = level, typ
	header.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return unix.CmsgSpace(len(data))
}

// putSource writes the control message that makes the address which the packet
// of m was sent to the source of its answer: a host with several would take
// another one as it likes. It returns the length.
func (m *meta) putSource(b []byte) int {
	switch {
	case !m.to.IsValid():
		return 0
	case m.to.Is4():
		var info [unix.SizeofInet4Pktinfo]byte
		v4 := m.to.As4()
		copy(info[4:], v4[:])
		return putControl(b, unix.IPPROTO_IP, unix.IP_PKTINFO, info[:])
	}
	var info [unix.SizeofInet6Pktinfo]byte
	v6 := m.to.As16()
	copy(info[:], v6[:])
	if m.to.IsLinkLocalUnicast() {
		binary.NativeEndian.PutUint32(info[16:], m.via) // elsewhere the route decides
	}
	return putControl(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info[:])
}
