package stamp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newKey(t testing.TB, secret string) *Key {
	t.Helper()
	k, err := NewKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const secret = "0123456789abcdef"

var (
	test = Test{Seq: 0x01020304, At: 0x1112131415161718, Error: 0x8001, SSID: 0xabcd}
	refl = Reflected{Seq: 7, At: 0x2122232425262728, Error: 0x4002, SSID: 0xabcd, Received: 0x3132333435363738,
		SenderSeq: 0x01020304, SenderAt: 0x1112131415161718, SenderError: 0x8001, SenderTTL: 255}
)

const (
	zero4  = "00000000"
	zero12 = zero4 + zero4 + zero4
)

// The figures of RFC 8762 §4.2 and §4.3, with the SSID of RFC 8972 §3. The
// HMACs were computed apart from this package (another HMAC implementation).
var wire = []struct {
	name      string
	auth      bool
	hex       string
	test      *Test
	reflected *Reflected
}{
	{"test", false, "01020304 1112131415161718 8001 abcd" + zero12 + zero12 + zero4, &test, nil},
	{"test, authenticated", true, "01020304" + zero12 + "1112131415161718 8001 abcd" +
		zero12 + zero12 + zero12 + zero12 + zero12 + zero4 + zero4, &test, nil},
	{"reflected", false, "00000007 2122232425262728 4002 abcd 3132333435363738 01020304 1112131415161718 8001 0000 ff 000000", nil, &refl},
	{"reflected, authenticated", true, "00000007" + zero12 + "2122232425262728 4002 abcd" + zero4 + "3132333435363738" + zero4 + zero4 +
		"01020304" + zero12 + "1112131415161718 8001 000000000000 ff" + "000000" + zero12, nil, &refl},
}

// macs of the authenticated packets above under secret.
var macs = map[string]string{
	"test, authenticated":      "1b3b490cc6adefd4c7c34c45e01b87dc",
	"reflected, authenticated": "e3f5caf53ce2571874ae51be28f253f4",
}

func TestWire(t *testing.T) {
	for _, tt := range wire {
		t.Run(tt.name, func(t *testing.T) {
			want := unhex(t, tt.hex)
			var key *Key
			var keys []*Key
			if tt.auth {
				key = newKey(t, secret)
				keys = []*Key{newKey(t, "another secret!!"), key}
				want = append(want, unhex(t, macs[tt.name])...)
			}
			if tt.test != nil {
				if got := tt.test.AppendMarshal(nil, key); !bytes.Equal(got, want) {
					t.Errorf("AppendMarshal\n%x, want\n%x", got, want)
				}
				got, by, rest, err := ParseTest(want, keys)
				if err != nil || got != *tt.test || by != key || len(rest) != 0 {
					t.Errorf("ParseTest = %+v, %d octets left, %v", got, len(rest), err)
				}
				return
			}
			if got := tt.reflected.AppendMarshal(nil, key); !bytes.Equal(got, want) {
				t.Errorf("AppendMarshal\n%x, want\n%x", got, want)
			}
			got, rest, err := ParseReflected(want, keys)
			if err != nil || got != *tt.reflected || len(rest) != 0 {
				t.Errorf("ParseReflected = %+v, %d octets left, %v", got, len(rest), err)
			}
		})
	}
}

func TestShort(t *testing.T) {
	key := newKey(t, secret)
	full := test.AppendMarshal(nil, nil)
	for n := range Size {
		got, _, _, err := ParseTest(full[:n], nil)
		if (err == nil) != (n >= MinSize) {
			t.Errorf("%d octets: %v", n, err)
		}
		if err == nil && (got.Seq != test.Seq || got.SSID != 0) {
			t.Errorf("%d octets: %+v", n, got)
		}
	}
	if _, _, _, err := ParseTest(full, []*Key{key}); !errors.Is(err, ErrShort) {
		t.Errorf("unauthenticated, with a key: %v", err)
	}
	signed := test.AppendMarshal(nil, key)
	signed[20] ^= 1
	if _, _, _, err := ParseTest(signed, []*Key{key}); !IsAuth(err) {
		t.Errorf("forged: %v", err)
	}
	if _, err := NewKey(make([]byte, MinKeySize-1)); err == nil {
		t.Error("a short key was accepted")
	}
}

func TestTimestamps(t *testing.T) {
	for _, tt := range []struct {
		at       time.Time
		ntp, ptp Timestamp
	}{
		{time.Unix(0, 0), 0x83aa7e8000000000, 0},
		{time.Unix(1, 500_000_000), 0x83aa7e8180000000, 0x000000011dcd6500},
		{time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), 0, 0x7c55818000000000}, // NTP's era 1 begins
	} {
		n := tt.at.UnixNano()
		if got := NTP(n); got != tt.ntp {
			t.Errorf("NTP(%v) = %x, want %x", tt.at, got, tt.ntp)
		}
		if got := PTP(n); got != tt.ptp {
			t.Errorf("PTP(%v) = %x, want %x", tt.at, got, tt.ptp)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 4_000_000_000*nanosPerSecond).Draw(t, "unix")
		ntp, ptp := Estimate(1, false, false), Estimate(1, false, true)
		if got := ntp.In(n).Unix(ntp); got != n {
			t.Fatalf("NTP: %d became %d", n, got)
		}
		if got := ptp.In(n).Unix(ptp); got != n {
			t.Fatalf("PTP: %d became %d", n, got)
		}
	})
}

func TestEstimate(t *testing.T) {
	for _, tt := range []struct {
		error     uint64
		sync, ptp bool
		want      ErrorEstimate
	}{
		{0, false, false, 0x0001},
		{255, true, false, 0x80ff},
		{256, false, true, 0x4180},
		{257, false, false, 0x0181}, // rounded up
		{1 << 32, false, false, 0x1980},
		{511, false, false, 0x0280},
	} {
		if got := Estimate(tt.error, tt.sync, tt.ptp); got != tt.want {
			t.Errorf("Estimate(%d) = %#04x, want %#04x", tt.error, uint16(got), uint16(tt.want))
		}
	}
}

// The fields of a class of service TLV one by one.
func TestCoS(t *testing.T) {
	for _, tt := range []struct {
		hex string
		cos CoS
	}{
		{"00000000", CoS{}},
		{"fc000000", CoS{Wanted: 63}},
		{"03f00000", CoS{Seen: 63}},
		{"000c0000", CoS{ECN: 3}},
		{"00010000", CoS{Rejected: true}},
		{"b8a50000", CoS{Wanted: 46, Seen: 10, ECN: 1, Rejected: true}},
	} {
		if got := AppendCoS(nil, tt.cos); !bytes.Equal(got, unhex(t, tt.hex)) {
			t.Errorf("AppendCoS(%+v) = %x, want %s", tt.cos, got, tt.hex)
		}
		if got, ok := ParseCoS(unhex(t, tt.hex)); !ok || got != tt.cos {
			t.Errorf("ParseCoS(%s) = %+v, %v, want %+v", tt.hex, got, ok, tt.cos)
		}
	}
}

// What a session-sender writes says that nobody has recognised it yet, and
// nothing else: U set, M and I clear.
func TestAppendTLV(t *testing.T) {
	if got := AppendTLV(nil, ClassOfService, AppendCoS(nil, CoS{Wanted: 46})); !bytes.Equal(got, unhex(t, "80 04 0004 b8000000")) {
		t.Errorf("%x", got)
	}
}

// The extensions of a test packet, and what a reflector makes of them.
func TestRespondTLVs(t *testing.T) {
	in := Arrival{At: 1e18, TTL: 63, DSCP: 10, ECN: 1, Rx: 9, Tx: 8, Counted: true, May: Codepoint(46)}
	for name, tt := range map[string]struct{ sent, want string }{
		"padding":            {"80 01 0003 aabbcc", "00 01 0003 aabbcc"},
		"stray RP and below": {"80 04 0004 0003ffff", "00 04 0004 00a40000"},
		"class of service":   {"80 04 0004 b8000000", "00 04 0004 b8a40000"},
		"direct measurement": {"80 05 000c 0000000a 00000000 00000000", "00 05 000c 0000000a 00000009 00000008"},
		"unknown":            {"00 63 0002 0102", "80 63 0002 0102"},
		"wrong length":       {"80 04 0003 b80000", "40 04 0003 b80000"},
		"beyond the packet":  {"80 01 0009 aa", "40 01 0009 aa"},
		"behind it, unread":  {"80 01 ffff 80 01 0000", "40 01 ffff 80 01 0000"},
		"behind a wrong length, unread": {"80 04 0003 b80000 80 05 000c 0000000a 00000000 00000000",
			"40 04 0003 b80000 80 05 000c 0000000a 00000000 00000000"},
		"half a header":              {"80 01 0000 8001", "00 01 0000 4001"},
		"type 0, which is reserved":  {"80 00 0002 0102 80 01 0001 aa", "80 00 0002 0102 00 01 0001 aa"},
		"type 0 before a TLV":        {"0000 0000 80 01 0001 aa", "8000 0000 00 01 0001 aa"},
		"a TLV before zeros":         {"80 01 0004 00000000 0000", "00 01 0004 00000000 0000"},
		"a codepoint nobody allowed": {"80 04 0004 30000000", "00 04 0004 30a50000"},
		"TWAMP's zero padding":       {"0000000000000000", "0000000000000000"},
		"HMAC without a key":         {"80 08 0010 00112233445566778899aabbccddeeff", "80 08 0010 00112233445566778899aabbccddeeff"},
	} {
		packet := append(test.AppendMarshal(nil, nil), unhex(t, tt.sent)...)
		r, err := ParseRequest(packet, nil, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := Respond(nil, r, in, 1)
		if got := a.Packet[Size:]; !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%s: %x, want %s", name, got, tt.want)
		}
		wanted := in.DSCP
		switch name {
		case "class of service":
			wanted = 46
		case "stray RP and below":
			wanted = 0
		}
		if a.DSCP != wanted {
			t.Errorf("%s: DSCP %d, want %d", name, a.DSCP, wanted)
		}
	}
}

func TestRespondAuthenticated(t *testing.T) {
	key := newKey(t, secret)
	keys := []*Key{newKey(t, "another secret!!"), key}
	in := Arrival{At: 1e18, TTL: 63, Rx: 9, Tx: 8, Counted: true, Stateful: true}
	sent := test.AppendMarshal(nil, key)
	sent = AppendTLV(sent, DirectMeasurement, AppendDirect(nil, Direct{SenderTx: 10}))
	sent = AppendHMAC(sent, 0, AuthSize, key)
	sent = AppendTLV(sent, ExtraPadding, []byte{1, 2})

	respond := func(packet []byte) (Reflected, []byte) {
		t.Helper()
		request, err := ParseRequest(packet, keys, true)
		if err != nil {
			t.Fatal(err)
		}
		a := Respond(nil, request, in, 1)
		a.Seal(2e18)
		if len(a.Packet) != len(packet) {
			t.Fatalf("%d octets for %d", len(a.Packet), len(packet))
		}
		r, rest, err := ParseReflected(a.Packet, keys)
		if err != nil {
			t.Fatal(err)
		}
		return r, rest
	}
	r, rest := respond(sent)
	if r.Seq != 7 || r.SenderSeq != test.Seq || r.SenderTTL != 63 || r.SSID != test.SSID || r.At.Unix(r.Error) != 2e18 || r.Received.Unix(r.Error) != 1e18 {
		t.Errorf("reflected %+v", r)
	}
	var flags []uint8
	for tlv := range TLVs(rest) {
		flags = append(flags, tlv.Flags)
		if d, ok := ParseDirect(tlv.Value); tlv.Type == DirectMeasurement && (!ok || d != Direct{10, 9, 8}) {
			t.Errorf("direct measurement %+v", d)
		}
	}
	if !bytes.Equal(flags, []byte{0, 0, 0}) {
		t.Errorf("flags %x, want all clear", flags)
	}
	if _, got := checkTLVs([]byte{0, 0, 0, 7}, rest, key, nil); got != intact {
		t.Errorf("the answer's extensions are %v", got)
	}

	// Without a valid HMAC the packet is answered, and its extensions are marked.
	forged := bytes.Clone(sent)
	forged[AuthSize+tlvHeader] ^= 1
	_, rest = respond(forged)
	for tlv := range TLVs(rest) {
		if tlv.Flags != Corrupt {
			t.Errorf("forged: flags of type %d are %x", tlv.Type, tlv.Flags)
		}
	}
	// Padding alone needs none.
	_, rest = respond(AppendTLV(test.AppendMarshal(nil, key), ExtraPadding, []byte{1}))
	if rest[0] != 0 {
		t.Errorf("padding alone: flags %x", rest[0])
	}
}

// Nothing a sender can write makes the reflector fail, or say more than the
// standard's symmetry asks for.
func FuzzRespond(f *testing.F) {
	key := newKey(f, secret)
	f.Add(test.AppendMarshal(nil, nil), false)
	f.Add(AppendTLV(test.AppendMarshal(nil, nil), ClassOfService, AppendCoS(nil, CoS{Wanted: 46})), false)
	f.Add(AppendHMAC(test.AppendMarshal(nil, key), 0, AuthSize, key), true)
	f.Fuzz(func(t *testing.T, packet []byte, auth bool) {
		var keys []*Key
		if auth {
			keys = []*Key{key}
		}
		r, err := ParseRequest(packet, keys, auth)
		if err != nil {
			return
		}
		a := Respond(nil, r, Arrival{At: 1}, 1)
		a.Seal(1)
		if len(a.Packet) != max(Size, len(packet)) || a.DSCP > 63 {
			t.Fatalf("%d octets for %d, DSCP %d", len(a.Packet), len(packet), a.DSCP)
		}
		if _, _, err := ParseReflected(a.Packet, keys); err != nil {
			t.Fatalf("cannot read our own answer: %v", err)
		}
		if _, err := ParseRequest(a.Packet, keys, auth); err == nil && r.At != 0 {
			t.Fatalf("our own answer is taken for a request: %x", a.Packet)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint32(1), uint64(2), uint16(3), uint16(4), uint64(5), uint32(6), uint8(7), true)
	key := newKey(f, secret)
	f.Fuzz(func(t *testing.T, seq uint32, at uint64, e, ssid uint16, received uint64, senderSeq uint32, ttl uint8, auth bool) {
		var by *Key
		var keys []*Key
		if auth {
			by, keys = key, []*Key{key}
		}
		in := Test{seq, Timestamp(at), ErrorEstimate(e), ssid}
		if out, _, _, err := ParseTest(in.AppendMarshal(nil, by), keys); err != nil || out != in {
			t.Fatalf("%+v became %+v, %v", in, out, err)
		}
		r := Reflected{seq, Timestamp(at), ErrorEstimate(e), ssid, Timestamp(received), senderSeq, Timestamp(at), ErrorEstimate(e), ttl}
		if out, _, err := ParseReflected(r.AppendMarshal(nil, by), keys); err != nil || out != r {
			t.Fatalf("%+v became %+v, %v", r, out, err)
		}
	})
}
