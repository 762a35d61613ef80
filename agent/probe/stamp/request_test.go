package stamp

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

// answerTo is what a reflector writes about test, authenticated where key is
// not nil.
func answerTo(t *testing.T, key *Key, error ErrorEstimate) []byte {
	t.Helper()
	var keys []*Key
	if key != nil {
		keys = []*Key{key}
	}
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	sent := Test{Seq: 1, At: error.In(now), Error: error}.AppendMarshal(nil, key)
	r, err := ParseRequest(sent, keys, key != nil)
	if err != nil {
		t.Fatal(err)
	}
	a := Respond(nil, r, Arrival{At: now}, error)
	a.Seal(now + int64(time.Millisecond))
	return a.Packet
}

// What a reflector wrote is no request, in any mode and format of time.
func TestAnswersAreNoRequests(t *testing.T) {
	key := newKey(t, secret)
	for name, by := range map[string]*Key{"unauthenticated": nil, "authenticated": key} {
		for format, e := range map[string]ErrorEstimate{"NTP": 1, "PTP": flagZ | 1} {
			var keys []*Key
			if by != nil {
				keys = []*Key{by}
			}
			if _, err := ParseRequest(answerTo(t, by, e), keys, by != nil); !errors.Is(err, ErrAnswer) {
				t.Errorf("%s, %s: %v", name, format, err)
			}
		}
	}
	// The random padding of a TWAMP Light sender is no answer.
	padded := slices.Concat(test.AppendMarshal(nil, nil)[:MinSize], bytes.Repeat([]byte{0xa7, 0x13, 0x5c}, 20))
	if _, err := ParseRequest(padded, nil, false); err != nil {
		t.Errorf("padding: %v", err)
	}
}

// A reflector with keys reads no packet in the wrong layout: what is as long as
// an authenticated one must be one.
func TestWrongHMACIsNotReadAsUnauthenticated(t *testing.T) {
	key := newKey(t, secret)
	keys := []*Key{key}
	forged := test.AppendMarshal(nil, newKey(t, "another secret!!"))
	for _, authOnly := range []bool{true, false} {
		if _, err := ParseRequest(forged, keys, authOnly); !IsAuth(err) {
			t.Errorf("only authenticated %v: a wrong HMAC gives %v", authOnly, err)
		}
		_, err := ParseRequest(test.AppendMarshal(nil, nil), keys, authOnly)
		if IsAuth(err) != authOnly {
			t.Errorf("only authenticated %v: no HMAC gives %v", authOnly, err)
		}
	}
}

// An HMAC TLV protects the extensions of an unauthenticated packet too (RFC 8972
// §4.8), where the reflector has the key.
func TestHMACOfUnauthenticatedExtensions(t *testing.T) {
	key := newKey(t, secret)
	sent := test.AppendMarshal(nil, nil)
	sent = AppendTLV(sent, DirectMeasurement, AppendDirect(nil, Direct{SenderTx: 10}))
	sent = AppendHMAC(sent, 0, Size, key)
	forged := bytes.Clone(sent)
	forged[Size+tlvHeader] ^= 1
	for name, tt := range map[string]struct {
		packet []byte
		keys   []*Key
		flags  []byte
	}{
		"intact":        {sent, []*Key{newKey(t, "another secret!!"), key}, []byte{0, 0}},
		"forged":        {forged, []*Key{key}, []byte{Corrupt, Corrupt}},
		"without a key": {sent, nil, []byte{0, Unrecognised}},
	} {
		r, err := ParseRequest(tt.packet, tt.keys, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := Respond(nil, r, Arrival{At: 1e18, Rx: 3, Tx: 3, Counted: true}, 1)
		var flags []byte
		for tlv := range TLVs(a.Packet[Size:]) {
			flags = append(flags, tlv.Flags)
		}
		if !bytes.Equal(flags, tt.flags) {
			t.Errorf("%s: flags %x, want %x", name, flags, tt.flags)
		}
		if name == "intact" && !Intact(a.Packet, a.Packet[Size:], []*Key{key}) {
			t.Error("the answer's HMAC does not match")
		}
	}
}

// A reflector that counts nothing says so: zeros would be counts.
func TestUncountedIsUnrecognised(t *testing.T) {
	packet := AppendTLV(test.AppendMarshal(nil, nil), DirectMeasurement, AppendDirect(nil, Direct{SenderTx: 10}))
	r, err := ParseRequest(packet, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if a := Respond(nil, r, Arrival{At: 1e18, Stateful: true}, 1); a.Packet[Size] != Unrecognised || !bytes.Equal(a.Packet[Size+1:], packet[Size+1:]) {
		t.Errorf("%x", a.Packet[Size:])
	}
}

// The flags that a sender wrote do not end the reflector's look at its HMAC.
func TestSenderCannotHideExtensions(t *testing.T) {
	key := newKey(t, secret)
	sent := append(test.AppendMarshal(nil, key), Malformed, byte(ExtraPadding), 0, 0)
	sent = AppendTLV(sent, ClassOfService, AppendCoS(nil, CoS{Wanted: 46}))
	r, err := ParseRequest(sent, []*Key{key}, true)
	if err != nil {
		t.Fatal(err)
	}
	if a := Respond(nil, r, Arrival{At: 1e18, May: ^Codepoints(0)}, 1); a.DSCP != 0 {
		t.Errorf("extensions without an HMAC ordered DSCP %d", a.DSCP)
	}
}

// Answers of 38 to 40 octets have no TTL: twampy's reflector sends them.
func TestAnswerWithoutTTL(t *testing.T) {
	full := refl.AppendMarshal(nil, nil)
	for n := range Size {
		got, _, err := ParseReflected(full[:n], nil)
		if (err == nil) != (n >= 38) {
			t.Errorf("%d octets: %v", n, err)
		}
		if want := uint8(0); err == nil && (got.SenderSeq != refl.SenderSeq || n <= 40 && got.SenderTTL != want) {
			t.Errorf("%d octets: %+v", n, got)
		}
	}
}

// Long padding, or many extensions of a type that nobody knows, cost no more
// than their length.
func TestExtensionsCostTheirLength(t *testing.T) {
	packet := append(test.AppendMarshal(nil, nil), make([]byte, 60_000)...)
	packet[len(packet)-1] = 1
	r, err := ParseRequest(packet, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	a := Respond(nil, r, Arrival{At: 1e18}, 1)
	n := 0
	for tlv := range TLVs(a.Packet[Size:]) {
		if tlv.Flags != Unrecognised || tlv.Type != 0 {
			t.Fatalf("TLV %d: %+v", n, tlv)
		}
		n++
	}
	if n == 0 {
		t.Error("type 0 before the end was taken for padding")
	}
}
