package probe

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

func keyFile(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	writeKeys(t, path, lines)
	return path
}

func writeKeys(t *testing.T, path, lines string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
}

const oldSecret, newSecret = "the old secret of all", "the new secret of all"

func TestKeyringRotation(t *testing.T) {
	path := keyFile(t, oldSecret+"\n")
	ring, err := OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	ring.Refused = func(error) { refused++ }
	now := time.Now()
	if n := len(ring.Keys(now)); n != 1 {
		t.Fatalf("%d keys", n)
	}
	writeKeys(t, path, newSecret+"\n\n  "+oldSecret+"\n")
	if n := len(ring.Keys(now.Add(time.Second))); n != 1 {
		t.Errorf("read again after a second: %d keys", n)
	}
	if n := len(ring.Keys(now.Add(time.Minute))); n != 2 {
		t.Errorf("after the rotation: %d keys", n)
	}
	for _, bad := range []string{"", "short\n", "a\nb\nc\n"} {
		writeKeys(t, path, bad)
		now = now.Add(2 * time.Minute)
		if n := len(ring.Keys(now)); n != 2 {
			t.Errorf("file %q: %d keys, want the last good ones", bad, n)
		}
		if _, err := OpenKeyring(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("file %q was accepted", bad)
		}
	}
	if refused != 1 {
		t.Errorf("the file went bad, which was told %d times, want once", refused)
	}
	writeKeys(t, path, newSecret)
	ring.Keys(now.Add(time.Hour))
	writeKeys(t, path, "short\n")
	if ring.Keys(now.Add(2 * time.Hour)); refused != 2 {
		t.Errorf("it went bad once more, and that was told %d times in all, want twice", refused)
	}
	if (*Keyring)(nil).Keys(now) != nil {
		t.Error("no keyring has keys")
	}
}

// Sender and reflector agree while they share one key, in the middle of a
// rotation, and not otherwise.
func TestAuthenticated(t *testing.T) {
	l := newLab(t)
	open := func(lines string) *Keyring {
		ring, err := OpenKeyring(keyFile(t, lines))
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	for name, tt := range map[string]struct {
		sender, reflector *Keyring
		authOnly, answers bool
	}{
		"same key":              {open(oldSecret), open(oldSecret), true, true},
		"in rotation":           {open(newSecret + "\n" + oldSecret), open(oldSecret + "\n" + newSecret), true, true},
		"other key":             {open(newSecret), open(oldSecret), true, false},
		"none, to one who asks": {nil, open(oldSecret), true, false},
		"none, to one who may":  {nil, open(oldSecret), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			port, r := l.reflect(t, ReflectorOptions{Keys: tt.reflector, AuthOnly: tt.authOnly})
			s := NewSender(Options{Keys: tt.sender})
			_ = s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: 300 * time.Millisecond}})
			l.run(t, s)
			refused := func() bool { return r.ledger.dropped[unauthenticated].Load() > 0 }
			got := gather(t, s, func(got map[string]*Result) bool {
				return samples("x", 10)(got) && (got["x"].Totals.Received > 0 || refused())
			})["x"]
			if answered := got.Totals.Received > 0; answered != tt.answers || refused() == tt.answers {
				t.Errorf("answered: %v, dropped as unauthenticated: %v; %+v", answered, refused(), got.Totals)
			}
		})
	}
	if _, err := NewReflector(nil, ReflectorOptions{AuthOnly: true}, nil); err == nil {
		t.Error("authenticated only, without keys, was accepted")
	}
}

// exchange sends the first packets to a reflector and returns its answers.
func exchange(t *testing.T, l lab, port uint16, r *Reflector, packets ...[]byte) (answers [][]byte) {
	t.Helper()
	var conn *net.UDPConn
	var err error
	l.near.Do(t, func() {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("10.99.0.2"), port)))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, p := range packets {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	await.Until(t, "what becomes of each packet", func() bool { return r.Stats().Answered+r.Stats().Total() == uint64(len(packets)) })
	for range r.Stats().Answered {
		b := make([]byte, 2048)
		answers = append(answers, b[:await.Read(t, "an answer that left", conn, b)])
	}
	return answers
}

func testPacket(seq uint32) []byte { return stamp.Test{Seq: seq, SSID: 7}.AppendMarshal(nil, nil) }

func TestReflectorRefuses(t *testing.T) {
	l := newLab(t)
	port, r := l.reflect(t, ReflectorOptions{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if got := exchange(t, l, port, r, testPacket(1)); len(got) != 0 || r.ledger.dropped[badSource].Load() != 1 {
		t.Errorf("a source that is not allowed got %d answers", len(got))
	}

	port, r = l.reflect(t, ReflectorOptions{Rate: 1})
	burst := make([][]byte, 20)
	for i := range burst {
		burst[i] = testPacket(uint32(i))
	}
	if got := exchange(t, l, port, r, burst...); len(got) == 0 || len(got) > 8 {
		t.Errorf("at 1 a second, a burst of 20 got %d answers", len(got))
	}
	if n := r.ledger.dropped[overRate].Load(); n < 12 {
		t.Errorf("%v dropped for their rate", n)
	}

	port, r = l.reflect(t, ReflectorOptions{})
	big, short := append(testPacket(1), make([]byte, 1000)...), testPacket(2)[:stamp.MinSize]
	got := exchange(t, l, port, r, []byte("hello"), make([]byte, 0), big, short)
	if len(got) != 2 || len(got[0]) != len(big) || len(got[1]) != stamp.Size {
		t.Errorf("%d answers; want two, of %d and %d octets", len(got), len(big), stamp.Size)
	}
	if n := r.ledger.dropped[malformed].Load(); n != 2 {
		t.Errorf("%v dropped as malformed", n)
	}
}

// A stateful reflector counts what it reflects; a replay is no new packet.
func TestReflectorCounts(t *testing.T) {
	l := newLab(t)
	port, r := l.reflect(t, ReflectorOptions{})
	direct := stamp.AppendTLV(testPacket(9), stamp.DirectMeasurement, stamp.AppendDirect(nil, stamp.Direct{SenderTx: 5}))
	got := exchange(t, l, port, r, testPacket(5), testPacket(5), direct)
	if len(got) != 3 {
		t.Fatalf("%d answers", len(got))
	}
	for i, b := range got {
		r, rest, err := stamp.ParseReflected(b, nil)
		if err != nil || r.Seq != uint32(i) {
			t.Errorf("answer %d has number %d, %v", i, r.Seq, err)
		}
		for tlv := range stamp.TLVs(rest) {
			if d, _ := stamp.ParseDirect(tlv.Value); d != (stamp.Direct{SenderTx: 5, ReflectorRx: 2, ReflectorTx: 3}) {
				t.Errorf("direct measurement %+v; want the replay not received twice", d)
			}
		}
	}
}

// What a reflector remembers is bounded whatever comes.
func TestSourcesAreBounded(t *testing.T) {
	s := newSources(10)
	now := time.Now()
	for i := range 3 * maxSources {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.admit(from, now)
		s.count(sessionKey{from: netip.AddrPortFrom(from, 1)}, 1, 1, now)
	}
	if len(s.limits) > maxSources || len(s.sessions) > maxSources {
		t.Errorf("%d sources, %d sessions", len(s.limits), len(s.sessions))
	}
	s.admit(netip.MustParseAddr("192.0.2.1"), now.Add(2*forgetIn))
	if len(s.limits) > 1 || len(s.sessions) != 0 {
		t.Errorf("after a silence: %d sources, %d sessions", len(s.limits), len(s.sessions))
	}
}
