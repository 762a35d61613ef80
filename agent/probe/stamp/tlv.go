package stamp

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"iter"
)

// Type is what a TLV is about.
type Type uint8

// The types that are understood here.
const (
	ExtraPadding      Type = 1
	ClassOfService    Type = 4
	DirectMeasurement Type = 5
	IntegrityHMAC     Type = 8
)

// Flags of a TLV.
const (
	Unrecognised uint8 = 0x80
	Malformed    uint8 = 0x40
	Corrupt      uint8 = 0x20
)

const (
	tlvHeader = 4
	cosSize   = 4
	directLen = 12
)

// TLV is one extension. Its bytes are those of the packet.
type TLV struct {
	Flags uint8
	Type  Type
	Value []byte
}

// split reads the extension that b begins with, and how long it is; false if
// it does not fit into b. Of one that does not there are flags and type at most.
func split(b []byte) (tlv TLV, size int, ok bool) {
	if len(b) < tlvHeader {
		return TLV{Flags: b[0]}, len(b), false
	}
	tlv = TLV{Flags: b[0], Type: Type(b[1])}
	size = tlvHeader + int(binary.BigEndian.Uint16(b[2:]))
	if size > len(b) {
		tlv.Value = b[tlvHeader:]
		return tlv, len(b), false
	}
	tlv.Value = b[tlvHeader:size]
	return tlv, size, true
}

// TLVs yields the extensions in rest, as Parse… returned it, up to the first
// that does not fit or that the reflector found malformed: where the next one
// begins nobody knows then.
func TLVs(rest []byte) iter.Seq[TLV] {
	return func(yield func(TLV) bool) {
		for tlv := range walk(rest) {
			if !yield(tlv) || tlv.Flags&Malformed != 0 {
				return
			}
		}
	}
}

// walk yields the extensions in rest up to the first that does not fit.
func walk(rest []byte) iter.Seq[TLV] {
	return func(yield func(TLV) bool) {
		end := extensions(rest)
		for offset := 0; offset < end; {
			tlv, size, ok := split(rest[offset:])
			if !ok || !yield(tlv) {
				return
			}
			offset += size
		}
	}
}

// extensions returns where in rest nothing but zeros follows. There begins, if a
// TLV would, the padding of a TWAMP Light sender: type 0 is reserved.
func extensions(rest []byte) int {
	return len(bytes.TrimRight(rest, "\x00"))
}

// AppendTLV appends an extension with the flags of a session-sender, which a
// reflector that knows no extensions leaves as they are: U says that nobody
// has recognised it (RFC 8972 §4).
func AppendTLV(b []byte, t Type, value []byte) []byte {
	b = append(b, Unrecognised, uint8(t), 0, 0)
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(len(value)))
	return append(b, value...)
}

// PaddingSize is the length of an extra padding TLV around n octets.
func PaddingSize(n int) int { return tlvHeader + n }

// AppendPadding appends an extra padding TLV of size octets, with its header
// (RFC 8972 §4.1), for which b has the capacity. It may stand behind the HMAC.
func AppendPadding(b []byte, size int) []byte {
	start := len(b) + tlvHeader
	b = append(b, Unrecognised, uint8(ExtraPadding), 0, 0)
	binary.BigEndian.PutUint16(b[start-2:], uint16(size-tlvHeader))
	b = b[:start+size-tlvHeader]
	clear(b[start:])
	return b
}

// CoS is the value of a class of service TLV (RFC 8972 §4.4).
type CoS struct {
	Wanted   uint8 // DSCP1: for the reflected packet
	Seen     uint8 // DSCP2: with which the test packet came
	ECN      uint8 // likewise
	Rejected bool  // RP is not 0: the reflector would not use Wanted; ours permits every one
}

// AppendCoS appends the value of c to b.
func AppendCoS(b []byte, c CoS) []byte {
	v := uint32(c.Wanted&63)<<26 | uint32(c.Seen&63)<<20 | uint32(c.ECN&3)<<18
	if c.Rejected {
		v |= 1 << 16
	}
	return binary.BigEndian.AppendUint32(b, v)
}

// ParseCoS reads the value of a class of service TLV.
func ParseCoS(value []byte) (CoS, bool) {
	if len(value) != cosSize {
		return CoS{}, false
	}
	v := binary.BigEndian.Uint32(value)
	return CoS{uint8(v >> 26), uint8(v >> 20 & 63), uint8(v >> 18 & 3), v>>16&3 != 0}, true
}

// Direct is the value of a direct measurement TLV (RFC 8972 §4.5): counts of
// packets of the session, modulo 2^32.
type Direct struct{ SenderTx, ReflectorRx, ReflectorTx uint32 }

// AppendDirect appends the value of d to b.
func AppendDirect(b []byte, d Direct) []byte {
	b = binary.BigEndian.AppendUint32(b, d.SenderTx)
	b = binary.BigEndian.AppendUint32(b, d.ReflectorRx)
	return binary.BigEndian.AppendUint32(b, d.ReflectorTx)
}

// ParseDirect reads the value of a direct measurement TLV.
func ParseDirect(value []byte) (Direct, bool) {
	if len(value) != directLen {
		return Direct{}, false
	}
	return Direct{binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:]), binary.BigEndian.Uint32(value[8:])}, true
}

// AppendHMAC appends the TLV that protects the extensions: an HMAC of the
// packet's sequence number and of every TLV before it (RFC 8972 §4.8). packet
// is where the test packet begins in b, base its length without extensions.
func AppendHMAC(b []byte, packet, base int, key *Key) []byte {
	sum := key.digest(b[packet:packet+4], b[packet+base:])
	return AppendTLV(b, IntegrityHMAC, sum)
}

// integrity is what became of the check of a packet's extensions.
type integrity uint8

const (
	unprotected integrity = iota
	intact
	corrupt
)

// Intact reports whether the extensions of a reflected packet are as the
// reflector sent them; rest is what ParseReflected returned. Without keys nobody
// can tell.
func Intact(packet, rest []byte, keys []*Key) bool {
	for _, k := range keys {
		if _, state := checkTLVs(packet[:4], rest, k, nil); state != corrupt {
			return true
		}
	}
	return len(keys) == 0
}

// checkTLVs verifies the HMAC TLV of the extensions in rest, by the key that
// signed the packet or, in one that is not signed, by one of keys; it returns
// the key that did. Only padding may stand behind it. A signed packet needs one,
// unless padding is its only extension.
func checkTLVs(seq, rest []byte, signed *Key, keys []*Key) (*Key, integrity) {
	offset, needed := 0, false
	var by *Key
	for t := range walk(rest) {
		switch {
		case t.Type == ExtraPadding:
		case by != nil, t.Type == IntegrityHMAC && len(t.Value) != macSize:
			return nil, corrupt
		case t.Type == IntegrityHMAC && signed == nil && len(keys) == 0:
			return nil, unprotected // for others to check
		case t.Type == IntegrityHMAC:
			if by = digests(t.Value, seq, rest[:offset], signed, keys); by == nil {
				return nil, corrupt
			}
		default:
			needed = signed != nil
		}
		offset += tlvHeader + len(t.Value)
	}
	switch {
	case by != nil:
		return by, intact
	case needed:
		return nil, corrupt
	}
	return nil, unprotected
}

// digests returns the key by which mac is the HMAC of the extensions before it.
func digests(mac, seq, before []byte, signed *Key, keys []*Key) *Key {
	if signed != nil {
		if hmac.Equal(mac, signed.digest(seq, before)) {
			return signed
		}
		return nil
	}
	for _, k := range keys {
		if hmac.Equal(mac, k.digest(seq, before)) {
			return k
		}
	}
	return nil
}
