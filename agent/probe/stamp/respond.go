package stamp

import (
	"encoding/binary"
	"errors"
)

// ErrAnswer says that a packet is what a session-reflector writes. To answer it
// would make two reflectors answer each other for ever.
var ErrAnswer = errors.New("stamp: a reflected packet, not a test packet")

// Request is a test packet as it came to a session-reflector.
type Request struct {
	Test
	Key    *Key // that signed it; nil if unauthenticated
	packet []byte
	rest   []byte // TLVs or padding
	keys   []*Key
}

// ParseRequest reads what came to a reflector that has keys, or none. A packet
// of AuthSize octets or more in the layout of an authenticated one must then be
// signed: it would otherwise be read in the wrong layout. A shorter one, or one
// with a timestamp where the other has zeros, is unauthenticated, which authOnly
// refuses.
func ParseRequest(b []byte, keys []*Key, authOnly bool) (Request, error) {
	r := Request{packet: b, keys: keys}
	if !IsSigned(b) {
		if authOnly && len(b) >= MinSize {
			return Request{}, ErrAuth
		}
		keys = nil
	}
	var err error
	if r.Test, r.Key, r.rest, err = ParseTest(b, keys); err != nil {
		return Request{}, err
	}
	if isAnswer(b, r.Key != nil) {
		return Request{}, ErrAnswer
	}
	return r, nil
}

// longestStay is how many seconds may be between the two timestamps that a
// reflector writes, for the packet to be taken for an answer. A test packet has
// zeros in their place, or a TWAMP Light sender's padding, which is by chance an
// answer once in a thousand million.
const longestStay = 2

func isAnswer(b []byte, auth bool) bool {
	at, received, senderAt := 4, 16, 28
	if auth {
		at, received, senderAt = 16, 32, 64
	}
	if len(b) < senderAt+8 {
		return false
	}
	// Both formats of a timestamp begin with the seconds.
	stay := int32(binary.BigEndian.Uint32(b[at:]) - binary.BigEndian.Uint32(b[received:]))
	return binary.BigEndian.Uint64(b[received:]) != 0 && binary.BigEndian.Uint64(b[senderAt:]) != 0 &&
		stay >= 0 && stay <= longestStay
}

// Codepoints is a set of DSCPs.
type Codepoints uint64

// Codepoint is the set of one DSCP, 0…63.
func Codepoint(dscp uint8) Codepoints { return 1 << (dscp & 63) }

// Has reports whether dscp is in the set.
func (c Codepoints) Has(dscp uint8) bool { return c&Codepoint(dscp) != 0 }

// Arrival is what the reflector knows of a test packet besides its octets.
type Arrival struct {
	At       int64 // when it came, ns since 1970
	TTL      uint8
	DSCP     uint8
	ECN      uint8
	Rx, Tx   uint32     // test packets received and reflected in this session, this one included
	Counted  bool       // Rx and Tx are known
	Stateful bool       // number the reflected packets by Tx, not by the sender's number
	May      Codepoints // that senders may order for the answer; 0 and DSCP besides
}

// Answer is a reflected packet.
type Answer struct {
	Packet []byte
	DSCP   uint8 // to send it with
	Key    *Key  // that signs it; nil if unauthenticated
	base   int
	ptp    ErrorEstimate
}

// Respond appends the answer to r to b. It is as long as the packet, or Size if
// that is longer: nothing is amplified beyond the symmetry that RFC 8762 asks
// for. Its timestamp is missing until Seal.
func Respond(b []byte, r Request, in Arrival, own ErrorEstimate) Answer {
	own = own&^flagZ | r.Error&flagZ // answer in the sender's format
	out := Reflected{
		Seq: r.Seq, Error: own, SSID: r.SSID, Received: own.In(in.At),
		SenderSeq: r.Seq, SenderAt: r.At, SenderError: r.Error, SenderTTL: in.TTL,
	}
	if in.Stateful && in.Counted {
		out.Seq = in.Tx - 1
	}
	start, base := len(b), Size
	if r.Key != nil {
		base = AuthSize
	}
	b = out.AppendMarshal(b, r.Key)
	b = append(b, r.rest...)
	a := Answer{Packet: b[start:], DSCP: in.DSCP, Key: r.Key, base: base, ptp: own}
	a.extend(r, in)
	return a
}

// Seal puts the time of sending into the answer and signs it.
func (a Answer) Seal(now int64) {
	offset := 4
	if a.Key != nil {
		offset = 16
	}
	binary.BigEndian.PutUint64(a.Packet[offset:], uint64(a.ptp.In(now)))
	if a.Key != nil {
		a.Key.sign(a.Packet)
	}
}

// extend fills in the extensions of the answer, which are still the sender's.
// What follows a malformed one stays as it came: nobody can tell where it begins
// (RFC 8972 §4). Where the HMAC does not match none is processed (§4.8).
func (a *Answer) extend(r Request, in Arrival) {
	rest := a.Packet[a.base:]
	key, state := checkTLVs(r.packet[:4], rest, r.Key, r.keys)
	for offset, end := 0, extensions(rest); offset < end; {
		tlv, size, ok := split(rest[offset:])
		switch {
		case !ok:
			rest[offset] = Malformed
			return
		case state == corrupt:
			rest[offset] = Corrupt
		default:
			rest[offset] = a.fill(tlv, rest[:offset], key, in)
			if rest[offset]&Malformed != 0 {
				return
			}
		}
		offset += size
	}
}

// fill writes the reflector's part of one TLV and returns its flags. before is
// what precedes it, which its HMAC is of.
func (a *Answer) fill(tlv TLV, before []byte, key *Key, in Arrival) uint8 {
	switch tlv.Type {
	case ExtraPadding:
		return 0
	case ClassOfService:
		c, ok := ParseCoS(tlv.Value)
		if !ok {
			return Malformed
		}
		c.Seen, c.ECN = in.DSCP, in.ECN
		if c.Rejected = c.Wanted != 0 && c.Wanted != in.DSCP && !in.May.Has(c.Wanted); !c.Rejected {
			a.DSCP = c.Wanted
		}
		AppendCoS(tlv.Value[:0], c)
		return 0
	case DirectMeasurement:
		d, ok := ParseDirect(tlv.Value)
		if !ok {
			return Malformed
		}
		if !in.Counted {
			return Unrecognised // zeros would be counts
		}
		d.ReflectorRx, d.ReflectorTx = in.Rx, in.Tx
		AppendDirect(tlv.Value[:0], d)
		return 0
	case IntegrityHMAC:
		if len(tlv.Value) != macSize {
			return Malformed
		}
		if key == nil {
			return Unrecognised
		}
		copy(tlv.Value, key.digest(a.Packet[:4], before))
		return 0
	}
	return Unrecognised
}
