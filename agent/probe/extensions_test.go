package probe

import (
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/workload"
)

// What the reflector tells in its extensions arrives, authenticated or not, and
// the answers come with the DSCP that was asked for.
func TestExtensions(t *testing.T) {
	l := newLab(t)
	ring := func() *Keyring {
		k, err := OpenKeyring(keyFile(t, oldSecret))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for name, keys := range map[string]func() *Keyring{"unauthenticated": func() *Keyring { return nil }, "authenticated": ring} {
		t.Run(name, func(t *testing.T) {
			port, _ := l.reflect(t, ReflectorOptions{Keys: keys(), ReplyDSCP: stamp.Codepoint(10)})
			for _, host := range []string{"10.99.0.2", "fd99::2"} {
				s := NewSender(Options{Keys: keys(), Extensions: Extensions{ClassOfService: true, ReplyDSCP: 10, DirectMeasurement: true}})
				if err := s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: host, Port: port, DSCP: 46, Interval: 5 * time.Millisecond, Timeout: noLoss}}); err != nil {
					t.Fatal(err)
				}
				l.run(t, s)
				r := gather(t, s, samples("x", 20))["x"]
				h := r.Heard
				if !h.HasCoS || h.CoS != (stamp.CoS{Wanted: 10, Seen: 46}) || h.ReplyDSCP != 10 {
					t.Errorf("%s: class of service %+v", host, h)
				}
				if !h.HasDirect || h.Direct.SenderTx < 20 || h.LostForward() != 0 || h.LostBackward() != 0 || r.Totals.Lost != r.Totals.Late {
					t.Errorf("%s: direct measurement %+v, %+v", host, h, r.Totals)
				}
				if r.Samples[0].Lost || r.Timestamps != SourceKernel || !r.Samples[10].HasQueue {
					t.Errorf("%s: the packet's own timestamps are missing: %v, %+v", host, r.Timestamps, r.Samples[10])
				}
			}
		})
	}
}

// An echo knows no extensions, and so says nothing in them.
func TestExtensionsUnknown(t *testing.T) {
	l := newLab(t)
	s := NewSender(Options{Extensions: Extensions{ClassOfService: true, DirectMeasurement: true}})
	echo := l.echoUDP(t, func(b []byte) [][]byte {
		test, _, rest, err := stamp.ParseTest(b, nil)
		if err != nil {
			t.Errorf("parse: %v", err)
		}
		return [][]byte{append(stamp.Reflected{SSID: test.SSID, SenderSeq: test.Seq, SenderAt: test.At}.AppendMarshal(nil, nil), rest...)}
	})
	if err := s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: echo, Interval: 5 * time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	l.run(t, s)
	if h := gather(t, s, samples("x", 5))["x"].Heard; h != (Heard{}) {
		t.Errorf("heard %+v", h)
	}
}

func TestLostByDirection(t *testing.T) {
	for _, tt := range []struct {
		heard             Heard
		forward, backward uint32
	}{
		{Heard{}, 0, 0},
		{Heard{Direct: stamp.Direct{SenderTx: 10, ReflectorRx: 7, ReflectorTx: 7}, Answers: 6}, 3, 1},
		{Heard{Direct: stamp.Direct{SenderTx: 9, ReflectorRx: 10, ReflectorTx: 10}, Answers: 11}, 0, 0}, // overtaken
		{Heard{Direct: stamp.Direct{SenderTx: 1, ReflectorRx: 1<<32 - 1, ReflectorTx: 2}, Answers: 1<<32 + 1}, 2, 1},
	} {
		if f, b := tt.heard.LostForward(), tt.heard.LostBackward(); f != tt.forward || b != tt.backward {
			t.Errorf("%+v: lost %d and %d, want %d and %d", tt.heard, f, b, tt.forward, tt.backward)
		}
	}
}

// A reflector on a host of several addresses answers from the one that was
// asked; from another one an answer would not count.
func TestReflectorAddress(t *testing.T) {
	l := newLab(t)
	l.far.Up(t, "far", "10.99.0.3/24")
	l.far.Up(t, "far", "fd99::3/64")
	port, _ := l.reflect(t, ReflectorOptions{})
	for _, host := range []string{"10.99.0.2", "10.99.0.3", "fd99::2", "fd99::3"} {
		s := l.start(t, Session{ID: "x", Protocol: workload.STAMP, Host: host, Port: port, Interval: 5 * time.Millisecond})
		if r := gather(t, s, samples("x", 5))["x"]; r.Totals.Received == 0 {
			t.Errorf("%s: %+v, %+v", host, r.Totals, s.Drops())
		}
	}
}
