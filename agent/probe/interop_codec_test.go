package probe_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// This is STAMP's wire format once more, written from the tables of RFC 8762 §4
// and RFC 8972 §3–4 and from nothing else: it shares no code with the product,
// so that a mistake there is not made here as well.

// Where the fields of a packet are, in octets.
type offsets struct {
	length, at, estimate, ssid                              int
	received, senderSeq, senderAt, senderEstimate, ttl, mac int
}

var (
	plainLayout  = offsets{44, 4, 12, 14, 16, 24, 28, 36, 40, -1}
	signedLayout = offsets{112, 16, 24, 26, 32, 48, 64, 72, 80, 96}
)

func layout(secret []byte) offsets {
	if secret == nil {
		return plainLayout
	}
	return signedLayout
}

var be = binary.BigEndian

// wireTime is a time in NTP's format or in PTPv2's.
func wireTime(t time.Time, ptp bool) uint64 {
	seconds, nanos := uint64(t.Unix()), uint64(t.Nanosecond())
	if ptp {
		return seconds<<32 | nanos
	}
	const from1900 = 2208988800
	return (seconds+from1900)<<32 | nanos<<32/1000000000
}

func timeOf(wire uint64, ptp bool) time.Time {
	seconds, low := int64(wire>>32), int64(wire&0xffffffff)
	if ptp {
		return time.Unix(seconds, low)
	}
	return time.Unix(seconds-2208988800, low*1000000000>>32)
}

const (
	ntpEstimate = 0x8001 // S, scale 0, multiplier 1
	ptpEstimate = 0xc001 // S and Z
)

func mac16(secret []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)[:16]
}

// extension is a TLV as it is on the wire.
type extension struct {
	flags, typ uint8
	value      []byte
}

func (e extension) append(b []byte) []byte {
	b = append(b, e.flags, e.typ)
	b = be.AppendUint16(b, uint16(len(e.value)))
	return append(b, e.value...)
}

func extensionsOf(b []byte) (all []extension, err error) {
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(be.Uint16(b[2:])) {
			return all, fmt.Errorf("%d octets are no extension: %x", len(b), b)
		}
		n := 4 + int(be.Uint16(b[2:]))
		all = append(all, extension{b[0], b[1], b[4:n]})
		b = b[n:]
	}
	return all, nil
}

// request makes a test packet; a secret authenticates it and its extensions.
func request(seq uint32, ssid uint16, at time.Time, ptp bool, secret []byte, exts ...extension) []byte {
	l := layout(secret)
	b := make([]byte, l.length)
	be.PutUint32(b, seq)
	be.PutUint64(b[l.at:], wireTime(at, ptp))
	be.PutUint16(b[l.estimate:], ntpEstimate)
	if ptp {
		be.PutUint16(b[l.estimate:], ptpEstimate)
	}
	be.PutUint16(b[l.ssid:], ssid)
	if secret != nil {
		copy(b[l.mac:], mac16(secret, b[:l.mac]))
	}
	for _, e := range exts {
		if e.typ == 8 && e.value == nil {
			e.value = mac16(secret, b[:4], b[l.length:])
		}
		b = e.append(b)
	}
	return b
}

// reflected is an answer as it was read.
type reflected struct {
	seq, senderSeq                    uint32
	at, received, senderAt            uint64
	estimate, senderEstimate, ssid    uint16
	ttl                               uint8
	mustBeZero                        bool // what must be zero is
	authentic, extensionsAreAuthentic bool
	extensions                        []extension
}

func readReflected(b, secret []byte) (r reflected, err error) {
	l := layout(secret)
	if len(b) < l.length {
		return r, fmt.Errorf("%d octets, want %d", len(b), l.length)
	}
	r = reflected{
		seq: be.Uint32(b), at: be.Uint64(b[l.at:]), estimate: be.Uint16(b[l.estimate:]), ssid: be.Uint16(b[l.ssid:]),
		received: be.Uint64(b[l.received:]), senderSeq: be.Uint32(b[l.senderSeq:]), senderAt: be.Uint64(b[l.senderAt:]),
		senderEstimate: be.Uint16(b[l.senderEstimate:]), ttl: b[l.ttl],
	}
	zeros := [][2]int{{38, 40}, {41, 44}}
	if secret != nil {
		zeros = [][2]int{{4, 16}, {28, 32}, {40, 48}, {52, 64}, {74, 80}, {81, 96}}
		r.authentic = hmac.Equal(b[l.mac:l.length], mac16(secret, b[:l.mac]))
	}
	r.mustBeZero = true
	for _, z := range zeros {
		for _, octet := range b[z[0]:z[1]] {
			r.mustBeZero = r.mustBeZero && octet == 0
		}
	}
	if r.extensions, err = extensionsOf(b[l.length:]); err != nil {
		return r, err
	}
	before := l.length
	for _, e := range r.extensions {
		if e.typ == 8 && secret != nil {
			r.extensionsAreAuthentic = hmac.Equal(e.value, mac16(secret, b[:4], b[l.length:before]))
		}
		before += 4 + len(e.value)
	}
	return r, nil
}

// answerTo makes the answer of a reflector that knows the base packet only; what
// follows it comes back as it was.
func answerTo(b []byte, secret []byte, seq uint32, received time.Time, ptp bool, ttl uint8) []byte {
	l := layout(secret)
	out := make([]byte, max(len(b), l.length))
	if len(b) > l.length {
		copy(out[l.length:], b[l.length:])
	}
	be.PutUint32(out, seq)
	be.PutUint16(out[l.estimate:], ntpEstimate)
	if ptp {
		be.PutUint16(out[l.estimate:], ptpEstimate)
	}
	copy(out[l.ssid:l.ssid+2], b[l.ssid:])
	be.PutUint64(out[l.received:], wireTime(received, ptp))
	copy(out[l.senderSeq:l.senderSeq+4], b)
	copy(out[l.senderAt:l.senderAt+8], b[l.at:])
	copy(out[l.senderEstimate:l.senderEstimate+2], b[l.estimate:])
	out[l.ttl] = ttl
	be.PutUint64(out[l.at:], wireTime(time.Now(), ptp))
	if secret != nil {
		copy(out[l.mac:], mac16(secret, out[:l.mac]))
	}
	return out
}
