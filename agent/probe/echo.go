package probe

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/workload"
)

// The payload of a UDP or ICMP echo, in network byte order:
//
//	 0  magic "dtnP"
//	 4  session number, 16 bits; 16 bits of zero
//	 8  sequence number
//	12  zero
//	16  key of the Sender, random: an answer that does not carry it is not ours
const (
	echoMagic = 0x64746e50
	echoSize  = 24
)

// echo is the format of UDP echo and, behind the eight octets of its header, of
// ICMP echo.
type echo struct {
	key    [8]byte
	header int   // octets before the payload
	typ    uint8 // ICMP type of the request
	// raw says that the socket is not a ping socket: the IPv4 header comes with
	// an answer, and the identifier and IPv4's checksum are ours to fill in.
	raw    bool
	length int // octets of a request
}

const (
	icmpHeader       = 8
	icmpEcho         = 8
	icmpEchoReply    = 0
	icmpv6Echo       = 128
	icmpv6EchoReply  = 129
	icmpFilter       = 1 // ICMP_FILTER of linux/icmp.h
	pingRangeSetting = "net.ipv4.ping_group_range"
)

func (s *Sender) newEcho(k kind) (prober, error) {
	f := &echo{}
	if _, err := rand.Read(f.key[:]); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	protocol := unix.IPPROTO_UDP
	if k.protocol == workload.ICMP {
		f.header, f.typ, protocol = icmpHeader, icmpEcho, unix.IPPROTO_ICMP
		if k.ipv6 {
			f.typ, protocol = icmpv6Echo, unix.IPPROTO_ICMPV6
		}
	}
	least := f.header + echoSize
	if f.length = least; k.path.size != 0 {
		around := udpHeader
		if k.protocol == workload.ICMP {
			around = 0 // its header is in f.header
		}
		if f.length = payload(k.path.size, k.ipv6, around); f.length < least {
			return nil, fmt.Errorf("a packet of %d octets is too short: these sessions need %d", k.path.size, k.path.size-f.length+least)
		}
	}
	d, err := newDatagram(s, f, k, unix.SOCK_DGRAM, protocol)
	if err != nil && k.protocol == workload.ICMP {
		var errRaw error
		f.raw = true
		if d, errRaw = newDatagram(s, f, k, unix.SOCK_RAW, protocol); errRaw != nil {
			return nil, fmt.Errorf("neither a ping socket (is this group in %s?): %w; nor a raw one (is there NET_RAW?): %w", pingRangeSetting, err, errRaw)
		}
		err = filterEchoReplies(d.fd, k.ipv6)
	}
	if err != nil {
		if d != nil {
			d.close()
		}
		return nil, err
	}
	if s.opts.HopLimits {
		receiveTTL(d.fd)
	}
	return d, nil
}

// filterEchoReplies keeps everything but echo replies out of a raw socket.
func filterEchoReplies(fd int, ipv6 bool) error {
	if ipv6 {
		var f unix.ICMPv6Filter // a set bit blocks a type
		for i := range f.Data {
			f.Data[i] = ^uint32(0)
		}
		f.Data[icmpv6EchoReply/32] &^= 1 << (icmpv6EchoReply % 32)
		return os.NewSyscallError("setsockopt ICMPV6_FILTER", unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &f))
	}
	return os.NewSyscallError("setsockopt ICMP_FILTER", unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1<<icmpEchoReply)))
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (f *echo) size() int { return f.length }

func (f *echo) request(b []byte, number uint16, seq, _ uint32) {
	clear(b)
	if f.header > 0 {
		b[0] = f.typ // the kernel fills in the identifier and the checksum
		binary.BigEndian.PutUint16(b[6:], uint16(seq))
	}
	p := b[f.header:]
	binary.BigEndian.PutUint32(p, echoMagic)
	binary.BigEndian.PutUint16(p[4:], number)
	binary.BigEndian.PutUint32(p[8:], seq)
	copy(p[16:], f.key[:])
	if f.raw {
		copy(b[4:6], f.key[:]) // the identifier: any will do, the key decides
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
}

func (f *echo) reply(b []byte) (reply, Reason) {
	if f.raw && f.typ == icmpEcho && len(b) > 0 {
		b = b[min(int(b[0]&15)*4, len(b)):] // the IPv4 header
	}
	if len(b) != f.size() {
		return reply{}, f.misshapen(b)
	}
	if f.header > 0 && b[0] != icmpEchoReply && b[0] != icmpv6EchoReply {
		return reply{}, Malformed
	}
	p := b[f.header:]
	if binary.BigEndian.Uint32(p) != echoMagic {
		return reply{}, f.misshapen(p)
	}
	if [8]byte(p[16:]) != f.key {
		return reply{}, WrongKey
	}
	seq := binary.BigEndian.Uint32(p[8:])
	return reply{number: binary.BigEndian.Uint16(p[4:]), seq: seq, answer: seq}, None
}

// misshapen says what an answer is that is no echo. A STAMP reflector takes our
// magic for a sequence number.
func (f *echo) misshapen(b []byte) Reason {
	const senderSeq = 24
	switch {
	case f.header == 0 && len(b) >= stamp.Size && binary.BigEndian.Uint32(b[senderSeq:]) == echoMagic:
		return OtherProtocol
	case len(b) < f.size():
		return Short
	}
	return Malformed
}

func (f *echo) own(b []byte) (uint16, uint32, bool) {
	if len(b) < f.header+12 || binary.BigEndian.Uint32(b[f.header:]) != echoMagic {
		return 0, 0, false
	}
	p := b[f.header:]
	return binary.BigEndian.Uint16(p[4:]), binary.BigEndian.Uint32(p[8:]), true
}
