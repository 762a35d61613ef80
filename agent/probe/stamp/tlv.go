package stamp

import (
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

// TLVs yields the extensions in rest, as Parse… returned it, up to the first
// that does not fit.
func TLVs(rest []byte) iter.Seq[TLV] {
	return func(yield func(TLV) bool) {
		for len(rest) >= tlvHeader && rest[1] != 0 {
			end := tlvHeader + int(binary.BigEndian.Uint16(rest[2:]))
			if end > len(rest) || !yield(TLV{rest[0], Type(rest[1]), rest[tlvHeader:end]}) {
				return
			}
			rest = rest[end:]
		}
	}
}

// AppendTLV appends an extension with the flags of a session-sender, which a
// reflector that knows no extensions leaves as they are: U says that nobody
// has recognised it (RFC 8972 §4).
func AppendTLV(b []byte, t Type, value []byte) []byte {
	b = append(b, Unrecognised, uint8(t), 0, 0)
	binary.BigEndian.PutUint16(b[len(b)-2:], uint16(len(value)))
	return append(b, value...)
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
		if checkTLVs(packet[:4], rest, k) != corrupt {
			return true
		}
	}
	return len(keys) == 0
}

// checkTLVs verifies the HMAC TLV of the extensions in rest. Only padding may
// stand behind it. An authenticated packet needs one, unless padding is its
// only extension.
func checkTLVs(seq, rest []byte, key *Key) integrity {
	if key == nil {
		return unprotected
	}
	offset, needed, result := 0, false, unprotected
	for t := range TLVs(rest) {
		switch {
		case t.Type == ExtraPadding:
		case result != unprotected, t.Type == IntegrityHMAC && len(t.Value) != macSize:
			return corrupt
		case t.Type == IntegrityHMAC:
			if !hmac.Equal(t.Value, key.digest(seq, rest[:offset])) {
				return corrupt
			}
			result = intact
		default:
			needed = true
		}
		offset += tlvHeader + len(t.Value)
	}
	if needed && result == unprotected {
		return corrupt
	}
	return result
}
