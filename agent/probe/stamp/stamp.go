// Package stamp is the wire format of the Simple Two-Way Active Measurement
// Protocol (RFC 8762) with its optional extensions (RFC 8972): what a
// session-sender and a session-reflector write and read. It is pure: time and
// counters are arguments.
//
// All fields are in network byte order; "." must be zero.
//
//	Test packet, unauthenticated (44)       Test packet, authenticated (112)
//	 0 Sequence Number            4          0 Sequence Number            4
//	 4 Timestamp                  8          4 .                         12
//	12 Error Estimate             2         16 Timestamp                  8
//	14 SSID                       2         24 Error Estimate             2
//	16 .                         28         26 SSID                       2
//	                                        28 .                         68
//	                                        96 HMAC                      16
//
//	Reflected, unauthenticated (44)         Reflected, authenticated (112)
//	 0 Sequence Number            4          0 Sequence Number            4
//	 4 Timestamp                  8          4 .                         12
//	12 Error Estimate             2         16 Timestamp                  8
//	14 SSID                       2         24 Error Estimate             2
//	16 Receive Timestamp          8         26 SSID                       2
//	24 Sender Sequence Number     4         28 .                          4
//	28 Sender Timestamp           8         32 Receive Timestamp          8
//	36 Sender Error Estimate      2         40 .                          8
//	38 .                          2         48 Sender Sequence Number     4
//	40 Sender TTL                 1         52 .                         12
//	41 .                          3         64 Sender Timestamp           8
//	                                        72 Sender Error Estimate      2
//	                                        74 .                          6
//	                                        80 Sender TTL                 1
//	                                        81 .                         15
//	                                        96 HMAC                      16
//
//	Error Estimate (RFC 4656 §4.1.2, RFC 8762 §4.2.1)
//	 S synchronised | Z 0: NTP, 1: PTPv2 | Scale, 6 bits | Multiplier, 8 bits, not 0
//
//	TLV, any number after the packet (RFC 8972 §4)
//	 0 flags: U 0x80 unrecognised, M 0x40 malformed, I 0x20 integrity
//	 1 Type: 1 extra padding, 4 class of service, 5 direct measurement, 8 HMAC
//	 2 Length of the value        2
//
//	Class of service, 4 octets (RFC 8972 §4.4)
//	 DSCP1, 6 bits | DSCP2, 6 bits | ECN, 2 bits | RP, 2 bits | 16 bits of .
package stamp

import (
	"encoding/binary"
	"errors"
)

// Sizes of the packets without extensions.
const (
	Size     = 44
	AuthSize = 112
	// MinSize is the shortest test packet that a reflector answers: that of a
	// TWAMP Light session-sender (RFC 8762 §4.6, RFC 5357 §4.1.2). What is
	// missing counts as zero.
	MinSize = 14

	hmacOffset = 96
	ttlOffset  = 40
	// minReflected is the shortest answer: up to the sender's error estimate.
	minReflected = 38
)

// Reasons why a packet is not read.
var (
	ErrShort = errors.New("stamp: packet too short")
	ErrAuth  = errors.New("stamp: HMAC does not match any key")
)

// Test is what a session-sender sends.
type Test struct {
	Seq   uint32
	At    Timestamp
	Error ErrorEstimate
	SSID  uint16 // session identifier, 0 for none (RFC 8972 §3)
}

// AppendMarshal appends t to b, authenticated where key is not nil.
func (t Test) AppendMarshal(b []byte, key *Key) []byte {
	start := len(b)
	if key == nil {
		b = append(b, make([]byte, Size)...)
		p := b[start:]
		binary.BigEndian.PutUint32(p, t.Seq)
		binary.BigEndian.PutUint64(p[4:], uint64(t.At))
		binary.BigEndian.PutUint16(p[12:], uint16(t.Error))
		binary.BigEndian.PutUint16(p[14:], t.SSID)
		return b
	}
	b = append(b, make([]byte, AuthSize)...)
	p := b[start:]
	binary.BigEndian.PutUint32(p, t.Seq)
	binary.BigEndian.PutUint64(p[16:], uint64(t.At))
	binary.BigEndian.PutUint16(p[24:], uint16(t.Error))
	binary.BigEndian.PutUint16(p[26:], t.SSID)
	key.sign(p)
	return b
}

// ParseTest reads a test packet; with keys it must be authenticated by one of
// them, and that key is returned. rest is what follows: TLVs or padding.
func ParseTest(b []byte, keys []*Key) (t Test, key *Key, rest []byte, err error) {
	if len(keys) > 0 {
		if key, err = verify(b, keys); err != nil {
			return Test{}, nil, nil, err
		}
		return Test{
			Seq:   binary.BigEndian.Uint32(b),
			At:    Timestamp(binary.BigEndian.Uint64(b[16:])),
			Error: ErrorEstimate(binary.BigEndian.Uint16(b[24:])),
			SSID:  binary.BigEndian.Uint16(b[26:]),
		}, key, b[AuthSize:], nil
	}
	if len(b) < MinSize {
		return Test{}, nil, nil, ErrShort
	}
	t = Test{
		Seq:   binary.BigEndian.Uint32(b),
		At:    Timestamp(binary.BigEndian.Uint64(b[4:])),
		Error: ErrorEstimate(binary.BigEndian.Uint16(b[12:])),
	}
	if len(b) >= Size { // shorter ones have padding there (TWAMP Light)
		t.SSID = binary.BigEndian.Uint16(b[14:])
		rest = b[Size:]
	}
	return t, nil, rest, nil
}

// Reflected is what a session-reflector returns.
type Reflected struct {
	Seq         uint32
	At          Timestamp // when it was sent
	Error       ErrorEstimate
	SSID        uint16
	Received    Timestamp // when the test packet came
	SenderSeq   uint32
	SenderAt    Timestamp
	SenderError ErrorEstimate
	SenderTTL   uint8
}

// AppendMarshal appends r to b, authenticated where key is not nil.
func (r Reflected) AppendMarshal(b []byte, key *Key) []byte {
	start := len(b)
	if key == nil {
		b = append(b, make([]byte, Size)...)
		p := b[start:]
		binary.BigEndian.PutUint32(p, r.Seq)
		binary.BigEndian.PutUint64(p[4:], uint64(r.At))
		binary.BigEndian.PutUint16(p[12:], uint16(r.Error))
		binary.BigEndian.PutUint16(p[14:], r.SSID)
		binary.BigEndian.PutUint64(p[16:], uint64(r.Received))
		binary.BigEndian.PutUint32(p[24:], r.SenderSeq)
		binary.BigEndian.PutUint64(p[28:], uint64(r.SenderAt))
		binary.BigEndian.PutUint16(p[36:], uint16(r.SenderError))
		p[40] = r.SenderTTL
		return b
	}
	b = append(b, make([]byte, AuthSize)...)
	p := b[start:]
	binary.BigEndian.PutUint32(p, r.Seq)
	binary.BigEndian.PutUint64(p[16:], uint64(r.At))
	binary.BigEndian.PutUint16(p[24:], uint16(r.Error))
	binary.BigEndian.PutUint16(p[26:], r.SSID)
	binary.BigEndian.PutUint64(p[32:], uint64(r.Received))
	binary.BigEndian.PutUint32(p[48:], r.SenderSeq)
	binary.BigEndian.PutUint64(p[64:], uint64(r.SenderAt))
	binary.BigEndian.PutUint16(p[72:], uint16(r.SenderError))
	p[80] = r.SenderTTL
	key.sign(p)
	return b
}

// ParseReflected reads a reflected packet; with keys it must be authenticated
// by one of them. A TWAMP Light reflector may leave out the octets after the
// sender's TTL (RFC 5357 §4.2.1), and older ones the TTL itself, which is 0 then.
func ParseReflected(b []byte, keys []*Key) (r Reflected, rest []byte, err error) {
	if len(keys) > 0 {
		if _, err := verify(b, keys); err != nil {
			return Reflected{}, nil, err
		}
		return Reflected{
			Seq:         binary.BigEndian.Uint32(b),
			At:          Timestamp(binary.BigEndian.Uint64(b[16:])),
			Error:       ErrorEstimate(binary.BigEndian.Uint16(b[24:])),
			SSID:        binary.BigEndian.Uint16(b[26:]),
			Received:    Timestamp(binary.BigEndian.Uint64(b[32:])),
			SenderSeq:   binary.BigEndian.Uint32(b[48:]),
			SenderAt:    Timestamp(binary.BigEndian.Uint64(b[64:])),
			SenderError: ErrorEstimate(binary.BigEndian.Uint16(b[72:])),
			SenderTTL:   b[80],
		}, b[AuthSize:], nil
	}
	if len(b) < minReflected {
		return Reflected{}, nil, ErrShort
	}
	ttl := uint8(0)
	if len(b) > ttlOffset {
		ttl = b[ttlOffset]
	}
	return Reflected{
		Seq:         binary.BigEndian.Uint32(b),
		At:          Timestamp(binary.BigEndian.Uint64(b[4:])),
		Error:       ErrorEstimate(binary.BigEndian.Uint16(b[12:])),
		SSID:        binary.BigEndian.Uint16(b[14:]),
		Received:    Timestamp(binary.BigEndian.Uint64(b[16:])),
		SenderSeq:   binary.BigEndian.Uint32(b[24:]),
		SenderAt:    Timestamp(binary.BigEndian.Uint64(b[28:])),
		SenderError: ErrorEstimate(binary.BigEndian.Uint16(b[36:])),
		SenderTTL:   ttl,
	}, b[min(Size, len(b)):], nil
}
