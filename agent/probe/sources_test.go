package probe

import (
	"net/netip"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// One source cannot take the whole table: the others are counted still, and it
// is told that it is not.
func TestOneSourceCannotFillTheTable(t *testing.T) {
	now := time.Now()
	for name, host := range map[string]func(i int) netip.Addr{
		"an address": func(int) netip.Addr { return netip.MustParseAddr("10.0.0.1") },
		"a /64": func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0xfd, 0x99, 15: byte(i), 14: byte(i >> 8)})
		},
	} {
		s := newSources(1e9)
		counted := 0
		for i := range maxSources {
			from := host(i)
			s.admit(from, now)
			if _, _, ok := s.count(sessionKey{from: netip.AddrPortFrom(from, 5000), ssid: uint16(i)}, 1, 1, now); ok {
				counted++
			}
		}
		if counted != sessionsOf {
			t.Errorf("%s has %d sessions, want %d", name, counted, sessionsOf)
		}
		other := netip.MustParseAddr("10.0.0.2")
		s.admit(other, now)
		if rx, tx, ok := s.count(sessionKey{from: netip.AddrPortFrom(other, 5000)}, 1, 1, now); !ok || rx != 1 || tx != 1 {
			t.Errorf("beside %s another source is not counted", name)
		}
		s.admit(other, now.Add(2*forgetIn))
		if from := host(1); true {
			s.admit(from, now.Add(2*forgetIn))
			if _, _, ok := s.count(sessionKey{from: netip.AddrPortFrom(from, 5000)}, 1, 1, now.Add(2*forgetIn)); !ok {
				t.Errorf("%s is not counted again after a silence", name)
			}
		}
	}
}

// A sender that begins anew with the same address, port and identifier is a new
// session; copies and stragglers are not.
func TestSessionBeginsAnew(t *testing.T) {
	type packet struct {
		seq uint32
		at  stamp.Timestamp
	}
	for name, tt := range map[string]struct {
		packets []packet
		rx, tx  uint32 // after the last
	}{
		"goes on":               {[]packet{{0, 10}, {1, 11}, {2, 12}}, 3, 3},
		"number 0 again":        {[]packet{{0, 10}, {1, 11}, {2, 12}, {0, 20}}, 1, 1},
		"and its second packet": {[]packet{{0, 10}, {1, 11}, {2, 12}, {0, 20}, {1, 21}}, 2, 2},
		"a copy":                {[]packet{{0, 10}, {1, 11}, {1, 11}, {0, 10}}, 2, 4},
		"another order":         {[]packet{{0, 10}, {2, 12}, {1, 11}}, 3, 3},
		"far behind and later":  {[]packet{{1000, 10}, {1001, 11}, {0, 20}}, 1, 1},
		"far behind and older":  {[]packet{{1000, 10}, {1001, 11}, {5, 9}}, 2, 3},
		"far ahead":             {[]packet{{0, 10}, {1, 11}, {1 << 30, 20}}, 1, 1},
		"after a loss":          {[]packet{{0, 10}, {5000, 11}}, 2, 2},
		"wraps":                 {[]packet{{1<<32 - 1, 10}, {0, 11}, {1, 12}}, 3, 3},
	} {
		s := newSources(1e9)
		now := time.Now()
		key := sessionKey{from: netip.MustParseAddrPort("10.0.0.1:5000")}
		s.admit(key.from.Addr(), now)
		var rx, tx uint32
		for _, p := range tt.packets {
			rx, tx, _ = s.count(key, p.seq, p.at, now)
		}
		if rx != tt.rx || tx != tt.tx {
			t.Errorf("%s: received %d, sent %d; want %d, %d", name, rx, tx, tt.rx, tt.tx)
		}
	}
}
