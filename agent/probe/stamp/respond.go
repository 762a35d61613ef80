package stamp

import "encoding/binary"

// Arrival is what the reflector knows of a test packet besides its octets.
type Arrival struct {
	At       int64 // when it came, ns since 1970
	TTL      uint8
	DSCP     uint8
	ECN      uint8
	Rx, Tx   uint32 // test packets received and reflected in this session, this one included
	Stateful bool   // number the reflected packets by Tx, not by the sender's number
}

// Answer is a reflected packet.
type Answer struct {
	Packet []byte
	DSCP   uint8 // to send it with
	Key    *Key  // that signs it; nil if unauthenticated
	base   int
	ptp    ErrorEstimate
}

// Respond appends the answer to packet to b. It is as long as the packet, or
// Size if that is longer: nothing is amplified beyond the symmetry that RFC
// 8762 asks for. Its timestamp is missing until Seal.
func Respond(b, packet []byte, keys []*Key, in Arrival, own ErrorEstimate) (Answer, error) {
	t, key, rest, err := ParseTest(packet, keys)
	if err != nil {
		return Answer{}, err
	}
	own = own&^flagZ | t.Error&flagZ // answer in the sender's format
	r := Reflected{
		Seq: t.Seq, Error: own, SSID: t.SSID, Received: own.In(in.At),
		SenderSeq: t.Seq, SenderAt: t.At, SenderError: t.Error, SenderTTL: in.TTL,
	}
	if in.Stateful {
		r.Seq = in.Tx - 1
	}
	start, base := len(b), Size
	if key != nil {
		base = AuthSize
	}
	b = r.AppendMarshal(b, key)
	b = append(b, rest...)
	a := Answer{Packet: b[start:], DSCP: in.DSCP, Key: key, base: base, ptp: own}
	a.extend(packet[:4], in)
	return a, nil
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
func (a *Answer) extend(seq []byte, in Arrival) {
	rest := a.Packet[a.base:]
	state := checkTLVs(seq, rest, a.Key)
	for offset := 0; offset+tlvHeader <= len(rest) && rest[offset+1] != 0; {
		tlv := rest[offset:]
		size := int(binary.BigEndian.Uint16(tlv[2:]))
		if tlvHeader+size > len(tlv) {
			tlv[0] = Malformed
			return
		}
		value := tlv[tlvHeader : tlvHeader+size]
		if state == corrupt {
			tlv[0] = Corrupt // echoed as it came (RFC 8972 §4.8)
		} else {
			tlv[0] = a.fill(Type(tlv[1]), value, rest[:offset], in)
		}
		offset += tlvHeader + size
	}
}

// fill writes the reflector's part of one TLV and returns its flags. before is
// what precedes it.
func (a *Answer) fill(t Type, value, before []byte, in Arrival) uint8 {
	switch t {
	case ExtraPadding:
		return 0
	case ClassOfService:
		c, ok := ParseCoS(value)
		if !ok {
			return Malformed
		}
		a.DSCP = c.Wanted
		c.Seen, c.ECN, c.Rejected = in.DSCP, in.ECN, false
		AppendCoS(value[:0], c)
		return 0
	case DirectMeasurement:
		d, ok := ParseDirect(value)
		if !ok {
			return Malformed
		}
		d.ReflectorRx, d.ReflectorTx = in.Rx, in.Tx
		AppendDirect(value[:0], d)
		return 0
	case IntegrityHMAC:
		if len(value) != macSize {
			return Malformed
		}
		if a.Key == nil {
			return Unrecognised
		}
		copy(value, a.Key.digest(a.Packet[:4], before))
		return 0
	}
	return Unrecognised
}
