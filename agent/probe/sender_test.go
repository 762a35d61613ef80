package probe

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// Nobody off the path knows the session's identifier and numbers, unless they
// were given.
func TestNumbersAreRandom(t *testing.T) {
	spec := Session{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: 862}
	seen := map[uint16]bool{}
	first := map[uint32]bool{}
	for range 16 {
		s := NewSender(Options{})
		if err := s.Assign([]Session{spec}); err != nil {
			t.Fatal(err)
		}
		seen[s.sessions[0].number], first[s.sessions[0].next] = true, true
	}
	if len(seen) < 8 || len(first) < 8 || seen[0] {
		t.Errorf("16 sessions have %d identifiers and %d first numbers", len(seen), len(first))
	}
	number := uint32(0)
	s := NewSender(Options{FirstNumber: &number})
	spec.SSID = 65535
	other := spec
	other.ID = "y"
	if err := s.Assign([]Session{spec, other}); err != nil {
		t.Fatal(err)
	}
	if a, b := s.sessions[0], s.sessions[1]; a.number != 65535 || b.number != 1 || a.next != 0 {
		t.Errorf("identifiers %d and %d, first number %d; want 65535, 1, 0", a.number, b.number, a.next)
	}
}

// After Finish nothing more is sent, and each packet in flight finds its end: a
// black hole and a refused port lose all.
func TestFinish(t *testing.T) {
	l := newLab(t)
	target := func(id, host string, port uint16) Session {
		return Session{ID: id, Protocol: workload.UDP, Host: host, Port: port, Interval: 2 * time.Millisecond, Timeout: 300 * time.Millisecond}
	}
	good := target("good", "10.99.0.2", l.echoUDP(t, nil))
	good.Timeout = noLoss
	s := l.start(t, good, target("hole", "10.99.0.77", 9), target("refused", "10.99.0.2", 9))
	sent := func(got map[string]*Result) bool {
		return got["hole"] != nil && got["hole"].Totals.Sent > 20 && got["refused"].Totals.Sent > 0 && got["good"].Totals.Received > 20
	}
	gather(t, s, sent)
	s.Finish()
	var before map[string]*Result
	got := gather(t, s, func(got map[string]*Result) bool {
		if before == nil && len(got) == 3 {
			before = map[string]*Result{}
			for id, r := range got {
				copied := *r
				before[id] = &copied
			}
		}
		return len(got) == 3 && got["good"].Open+got["hole"].Open+got["refused"].Open == 0
	})
	for id, want := range map[string]float64{"good": 0, "hole": 1, "refused": 1} {
		r := got[id]
		if loss, known := r.Totals.Loss(); !known || loss != want || r.Totals.Sent != r.Totals.Lost+r.Totals.Received {
			t.Errorf("%s: loss %v, %+v", id, loss, r.Totals)
		}
		if r.Totals.Sent != before[id].Totals.Sent {
			t.Errorf("%s: %d packets were sent after the end", id, r.Totals.Sent-before[id].Totals.Sent)
		}
	}
	if r := got["refused"]; r.Blind == 0 || !errors.Is(r.Err, syscall.ECONNREFUSED) {
		t.Errorf("refused: for %v nothing was measured, %v", r.Blind, r.Err)
	}
}

// What answers with the wrong protocol, or without our key, is told by name.
func TestDropsSayWhy(t *testing.T) {
	l := newLab(t)
	echo := l.echoUDP(t, nil)
	plain, _ := l.reflect(t, ReflectorOptions{})
	keyed, _ := l.reflect(t, ReflectorOptions{Keys: openKeys(t, newSecret)})
	short := l.echoUDP(t, func([]byte) [][]byte { return [][]byte{[]byte("go away")} })
	foreign := l.echoUDP(t, func(b []byte) [][]byte {
		test, _, _, _ := stamp.ParseTest(b, nil)
		return [][]byte{stamp.Reflected{SSID: test.SSID + 1, SenderSeq: test.Seq, SenderAt: test.At}.AppendMarshal(nil, nil),
			stamp.Reflected{SSID: test.SSID, SenderSeq: test.Seq + 1<<20, SenderAt: test.At}.AppendMarshal(nil, nil)}
	})
	for name, tt := range map[string]struct {
		protocol workload.Protocol
		port     uint16
		keys     string
		want     Reason
	}{
		"an echo, asked by STAMP":      {workload.STAMP, echo, "", PlainEcho},
		"an echo, asked with a key":    {workload.STAMP, echo, oldSecret, PlainEcho},
		"STAMP, asked by UDP":          {workload.UDP, plain, "", OtherProtocol},
		"no key there":                 {workload.STAMP, plain, oldSecret, Unsigned},
		"something short":              {workload.STAMP, short, "", Short},
		"another session's identifier": {workload.STAMP, foreign, "", ForeignSession},
		"a number that was not sent":   {workload.STAMP, foreign, "", UnknownNumber},
	} {
		t.Run(name, func(t *testing.T) {
			var opts Options
			if tt.keys != "" {
				opts.Keys = openKeys(t, tt.keys)
			}
			s := NewSender(opts)
			if err := s.Assign([]Session{{ID: "x", Protocol: tt.protocol, Host: "10.99.0.2", Port: tt.port, Interval: 5 * time.Millisecond}}); err != nil {
				t.Fatal(err)
			}
			l.run(t, s)
			await.Until(t, tt.want.String(), func() bool { return s.Drops()[tt.want] > 0 })
			s.Collect(func(r Result) {
				if r.Totals.Received != 0 {
					t.Errorf("%+v", r.Totals)
				}
			})
			if tt.want.Advice() == "" {
				t.Error("nobody is told what to do")
			}
		})
	}
	_ = keyed
}

// Long packets pass where the interface takes them, in both roles; the answer of
// a reflector is as long.
func TestJumbo(t *testing.T) {
	l := newLab(t)
	for n, name := range map[interface {
		LinkByName(string) (netlink.Link, error)
		LinkSetMTU(netlink.Link, int) error
	}]string{l.near: "near", l.far: "far"} {
		link, err := n.LinkByName(name)
		if err == nil {
			err = n.LinkSetMTU(link, 9000)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	port, _ := l.reflect(t, ReflectorOptions{})
	echo, _ := l.reflect(t, ReflectorOptions{Echo: true})
	for name, target := range map[string]Session{
		"stamp":  {Protocol: workload.STAMP, Host: "10.99.0.2", Port: port},
		"stamp6": {Protocol: workload.STAMP, Host: "fd99::2", Port: port},
		"udp":    {Protocol: workload.UDP, Host: "10.99.0.2", Port: echo},
		"icmp":   {Protocol: workload.ICMP, Host: "10.99.0.2"},
		"icmp6":  {Protocol: workload.ICMP, Host: "fd99::2"},
	} {
		target.ID, target.Interval, target.Timeout, target.DontFragment, target.Size = "x", 5*time.Millisecond, noLoss, true, 9000
		s := l.start(t, target)
		if r := gather(t, s, samples("x", 10))["x"]; r.Timestamps != SourceKernel || r.Totals.Lost != r.Totals.Late {
			t.Errorf("%s: timestamps by %v, %+v, %v", name, r.Timestamps, r.Totals, r.Err)
		}
		target.Size = 9001
		s = l.start(t, target)
		got := gather(t, s, func(got map[string]*Result) bool { return got["x"] != nil && got["x"].Err != nil })
		if r := got["x"]; !errors.Is(r.Err, syscall.EMSGSIZE) {
			t.Errorf("%s, an octet too long: %v", name, r.Err)
		}
	}
	s := l.start(t, Session{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Size: 73})
	if r := gather(t, s, func(got map[string]*Result) bool { return got["x"] != nil && got["x"].Err != nil })["x"]; r.Totals.Sent != 0 {
		t.Errorf("a size that cannot be: %+v, %v", r.Totals, r.Err)
	}
}

// An address of a link is reached by the interface that its zone names.
func TestZone(t *testing.T) {
	l := newLab(t)
	link, err := l.far.LinkByName("far")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := l.far.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := l.reflect(t, ReflectorOptions{})
	for _, addr := range addrs {
		if !addr.IP.IsLinkLocalUnicast() {
			continue
		}
		var s *Sender
		l.near.Do(t, func() { // the zone is one of this namespace
			s = l.start(t, Session{ID: "x", Protocol: workload.STAMP, Host: addr.IP.String() + "%near", Port: port, Interval: 5 * time.Millisecond})
		})
		// The link's addresses are usable a second or two after it came up.
		answered := func(got map[string]*Result) bool { return got["x"] != nil && got["x"].Totals.Received > 0 }
		if r := gather(t, s, answered)["x"]; r.Addr.Addr().Zone() != "near" {
			t.Errorf("%+v, %v, %v", r.Totals, r.Err, r.Addr)
		}
		return
	}
	t.Fatal("the far end has no address of the link")
}

// Packets leave from the port and the address that were asked for.
func TestLocalAddress(t *testing.T) {
	l := newLab(t)
	l.near.Up(t, "near", "10.99.0.9/24")
	var conn *net.UDPConn
	var err error
	l.far.Do(t, func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{}) })
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[netip.AddrPort]bool{}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			mu.Lock()
			seen[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())] = true
			mu.Unlock()
			_, _ = conn.WriteToUDPAddrPort(b[:n], from)
		}
	})
	t.Cleanup(func() { conn.Close(); reading.Wait() })
	var sessions []Session
	var want []netip.AddrPort
	for i := range 3 {
		local := netip.AddrPortFrom(netip.MustParseAddr("10.99.0.9"), uint16(50000+i))
		want = append(want, local)
		sessions = append(sessions, Session{ID: strconv.Itoa(i), Protocol: workload.UDP, Host: "10.99.0.2",
			Port: uint16(conn.LocalAddr().(*net.UDPAddr).Port), Local: local, Interface: "near", Interval: 5 * time.Millisecond})
	}
	s := l.start(t, sessions...)
	gather(t, s, func(got map[string]*Result) bool {
		return samples("0", 3)(got) && samples("1", 3)(got) && samples("2", 3)(got)
	})
	mu.Lock()
	defer mu.Unlock()
	for _, local := range want {
		if !seen[local] {
			t.Errorf("nothing came from %v; from %v", local, seen)
		}
	}
}

// The TTL of packets is what was asked for, and both ends' are told.
func TestHopLimits(t *testing.T) {
	l := newLab(t)
	port, _ := l.reflect(t, ReflectorOptions{})
	for _, host := range []string{"10.99.0.2", "fd99::2"} {
		s := NewSender(Options{HopLimits: true})
		if err := s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: host, Port: port, TTL: 17, Interval: 5 * time.Millisecond}}); err != nil {
			t.Fatal(err)
		}
		l.run(t, s)
		if r := gather(t, s, samples("x", 5))["x"]; r.TTLThere != 17 || r.TTLBack != 64 {
			t.Errorf("%s: TTL %d there, %d back; want 17, 64", host, r.TTLThere, r.TTLBack)
		}
	}
}

// Senders order no codepoint for answers that the reflector's operator did not
// allow.
func TestReplyDSCPNeedsPermission(t *testing.T) {
	l := newLab(t)
	port, _ := l.reflect(t, ReflectorOptions{ReplyDSCP: stamp.Codepoint(12)})
	for wanted, refused := range map[uint8]bool{10: true, 12: false, 0: false, 46: false} {
		s := NewSender(Options{Extensions: Extensions{ClassOfService: true, ReplyDSCP: wanted}})
		if err := s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, DSCP: 46, Interval: 5 * time.Millisecond}}); err != nil {
			t.Fatal(err)
		}
		l.run(t, s)
		h := gather(t, s, samples("x", 5))["x"].Heard
		got := wanted
		if refused {
			got = 46
		}
		if h.CoS.Rejected != refused || h.ReplyDSCP != got {
			t.Errorf("asked for %d: %+v", wanted, h)
		}
	}
}

// Comments and blank lines are no keys, and keys may be in hex or base64.
func TestKeyFile(t *testing.T) {
	const secret = "0123456789abcdef"
	for lines, same := range map[string]bool{
		"# the lab's\n\n" + secret + "\n":            true,
		"hex:30313233343536373839616263646566":       true,
		"  base64:MDEyMzQ1Njc4OWFiY2RlZg==  \n# end": true,
		"hex:303132333435363738396162636465":         false, // 15 octets
		"hex:zz":                                     false,
		"base64:MDEyMzQ1Njc4OWFiY2RlZg":              false,
		"# only a comment":                           false,
	} {
		ring, err := OpenKeyring(keyFile(t, lines))
		if (err == nil) != same {
			t.Errorf("%q: %v", lines, err)
			continue
		}
		if !same {
			continue
		}
		want, _ := stamp.NewKey([]byte(secret))
		signed := stamp.Test{Seq: 1}.AppendMarshal(nil, want)
		if _, _, _, err := stamp.ParseTest(signed, ring.Keys(time.Now())); err != nil {
			t.Errorf("%q is another key: %v", lines, err)
		}
	}
	if _, err := OpenKeyring(keyFile(t, "hex:zz0123456789")); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
