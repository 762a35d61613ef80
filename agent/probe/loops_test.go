package probe

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/await"
)

func openKeys(t *testing.T, lines string) *Keyring {
	t.Helper()
	ring, err := OpenKeyring(keyFile(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// A packet that was forged to come from one reflector is answered by the other
// once at most, in every mode, and nothing goes round.
func TestReflectorsDoNotAnswerEachOther(t *testing.T) {
	l := newLab(t)
	now := time.Now().UnixNano()
	request := func(key *stamp.Key) []byte {
		return stamp.Test{Seq: 1, At: stamp.NTP(now), Error: 1, SSID: 7}.AppendMarshal(nil, key)
	}
	key, err := stamp.NewKey([]byte(oldSecret))
	if err != nil {
		t.Fatal(err)
	}
	keyed := func() ReflectorOptions { return ReflectorOptions{Keys: openKeys(t, oldSecret), AuthOnly: true} }
	plain := func() ReflectorOptions { return ReflectorOptions{} }
	echo := func() ReflectorOptions { return ReflectorOptions{Echo: true} }
	for name, tt := range map[string]struct {
		a, b   func() ReflectorOptions
		packet []byte
		most   uint64 // answers of both
	}{
		"unauthenticated": {plain, plain, request(nil), 1},
		"authenticated":   {keyed, keyed, request(key), 1},
		"STAMP and echo":  {plain, echo, request(nil), 2},
		"two echoes":      {echo, echo, []byte("round and round"), 2 * repeatsSecond * 2},
	} {
		t.Run(name, func(t *testing.T) {
			portA, a := l.reflect(t, tt.a())
			_, b := l.reflect(t, tt.b())
			to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), portA)
			if _, err := b.conn.WriteToUDPAddrPort(tt.packet, to); err != nil {
				t.Fatal(err)
			}
			dropped := func() uint64 { return a.Stats().Total() + b.Stats().Total() }
			answered := func() uint64 { return a.Stats().Answered + b.Stats().Answered }
			await.Until(t, "the end of the loop", func() bool { return dropped() > 0 && answered() > 0 }) // an answer counts when it has left
			if n := answered(); n > tt.most {
				t.Errorf("%d answers, want %d at most", n, tt.most)
			}
		})
	}
}

// sendFrom sends packets to the far end's reflector from a port of the near end.
func (l lab) sendFrom(t *testing.T, from uint16, to netip.AddrPort, packets ...[]byte) {
	t.Helper()
	var conn *net.UDPConn
	var err error
	l.near.Do(t, func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(from)}) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) })
	for _, p := range packets {
		if _, err := conn.WriteToUDPAddrPort(p, to); err != nil {
			t.Fatal(err)
		}
	}
}

// Who would answer in turn, or whom many would answer, is not answered.
func TestReflectorRefusesForged(t *testing.T) {
	l := newLab(t)
	l.near.Route(t, "0.0.0.0/0", "near", "")
	now := time.Now().UnixNano()
	answer := stamp.Reflected{Seq: 1, At: stamp.NTP(now), Error: 1, Received: stamp.NTP(now), SenderSeq: 1, SenderAt: stamp.NTP(now)}.AppendMarshal(nil, nil)
	other, err := stamp.NewKey([]byte(newSecret))
	if err != nil {
		t.Fatal(err)
	}
	forged := stamp.Test{Seq: 1, At: stamp.NTP(now), Error: 1}.AppendMarshal(nil, other)
	for name, tt := range map[string]struct {
		opts   ReflectorOptions
		from   uint16 // 0: the reflector's own
		to     string
		packet []byte
		want   refusal
	}{
		"well-known port":       {ReflectorOptions{}, 862, "10.99.0.2", testPacket(1), badPort},
		"its own port":          {ReflectorOptions{}, 0, "10.99.0.2", testPacket(1), badPort},
		"below the given port":  {ReflectorOptions{MinSourcePort: 5000}, 4999, "10.99.0.2", testPacket(1), badPort},
		"an answer":             {ReflectorOptions{MinSourcePort: 1}, 0, "10.99.0.2", answer, isAnswer},
		"subnet broadcast":      {ReflectorOptions{}, 4999, "10.99.0.255", testPacket(1), toMany},
		"broadcast":             {ReflectorOptions{}, 4999, "255.255.255.255", testPacket(1), toMany},
		"broadcast to an echo":  {ReflectorOptions{Echo: true}, 4999, "10.99.0.255", testPacket(1), toMany},
		"source, of an echo":    {ReflectorOptions{Echo: true, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, 4999, "10.99.0.2", testPacket(1), badSource},
		"wrong HMAC":            {ReflectorOptions{Keys: openKeys(t, oldSecret)}, 4999, "10.99.0.2", forged, unauthenticated},
		"wrong HMAC, auth only": {ReflectorOptions{Keys: openKeys(t, oldSecret), AuthOnly: true}, 4999, "10.99.0.2", forged, unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			port, r := l.reflect(t, tt.opts)
			from := tt.from
			if from == 0 {
				from = port
			}
			l.sendFrom(t, from, netip.AddrPortFrom(netip.MustParseAddr(tt.to), port), tt.packet)
			await.Until(t, "the refusal", func() bool { return r.Stats().Total()+r.Stats().Answered > 0 })
			if n := r.ledger.dropped[tt.want].Load(); n != 1 || r.Stats().Answered != 0 {
				t.Errorf("%+v", r.Stats())
			}
		})
	}
}

// With 1 as the lowest port everybody is answered, the own port included.
func TestLowestPortOne(t *testing.T) {
	l := newLab(t)
	port, r := l.reflect(t, ReflectorOptions{MinSourcePort: 1})
	to := netip.AddrPortFrom(netip.MustParseAddr("10.99.0.2"), port)
	l.sendFrom(t, port, to, testPacket(1))
	l.sendFrom(t, 862, to, testPacket(2))
	await.Until(t, "both answers", func() bool { return r.Stats().Answered == 2 })
}

// An echo is bounded by rate and source as a reflector is.
func TestEchoIsBounded(t *testing.T) {
	l := newLab(t)
	port, r := l.reflect(t, ReflectorOptions{Echo: true, Rate: 1})
	burst := make([][]byte, 20)
	for i := range burst {
		burst[i] = []byte{byte(i), 1, 2, 3}
	}
	l.sendFrom(t, 4999, netip.AddrPortFrom(netip.MustParseAddr("10.99.0.2"), port), burst...)
	await.Until(t, "the burst", func() bool { return r.Stats().Total()+r.Stats().Answered == 20 })
	if r.Stats().Answered > 8 {
		t.Errorf("at 1 a second, a burst of 20 got %d answers", r.Stats().Answered)
	}
}
