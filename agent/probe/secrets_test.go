package probe

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/workload"
)

const (
	firstSecret  = "first controller's secret"
	secondSecret = "second controller's secret"
)

func take(t *testing.T, s *Secrets, secret string) {
	t.Helper()
	if err := s.Take([]byte(secret)); err != nil {
		t.Fatal(err)
	}
}

// The newest secret signs, those before still count, and there are few.
func TestSecrets(t *testing.T) {
	var s Secrets
	ring, now := s.Ring(), time.Now()
	if ring.Keys(now) != nil {
		t.Error("keys before the first secret")
	}
	for n := range 2 * maxSecrets {
		take(t, &s, strings.Repeat("x", stamp.MinKeySize+n))
		if got := len(ring.Keys(now)); got != min(n+1, maxSecrets) {
			t.Errorf("%d keys of %d secrets", got, n+1)
		}
	}
	take(t, &s, firstSecret)
	before := ring.Keys(now)
	take(t, &s, firstSecret)
	if after := ring.Keys(now); len(after) != maxSecrets || &after[0] != &before[0] {
		t.Error("the same secret again made other keys")
	}
	for _, bad := range []string{"", "short", strings.Repeat("long", 100)} {
		if err := s.Take([]byte(bad)); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("a secret of %d octets: %v", len(bad), err)
		}
	}
}

// handed is Secrets with these, the newest last.
func handed(t *testing.T, secrets ...string) *Secrets {
	var s Secrets
	for _, each := range secrets {
		take(t, &s, each)
	}
	return &s
}

// Sessions that are to be signed are, beside others that are not: a reflector
// knows the key of the controller that leads and of the one before; one that
// knows neither, or an app's, answers what is not signed as ever.
func TestHandedKeys(t *testing.T) {
	l := newLab(t)
	for name, tt := range map[string]struct {
		sender, reflector     *Secrets
		signed, plain, padded bool // answered
	}{
		"the same":                {handed(t, firstSecret), handed(t, firstSecret), true, true, true},
		"the reflector was first": {handed(t, firstSecret), handed(t, firstSecret, secondSecret), true, true, true},
		"the sender was first":    {handed(t, secondSecret), handed(t, firstSecret), false, true, true},
		"none there":              {handed(t, firstSecret), new(Secrets), false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			port, _ := l.reflect(t, ReflectorOptions{Keys: tt.reflector.Ring()})
			s := NewSender(Options{Handed: tt.sender})
			spec := Session{Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: 300 * time.Millisecond}
			signed, plain, padded := spec, spec, spec
			signed.ID, plain.ID, padded.ID = "signed", "plain", "padded"
			signed.Authenticated, padded.Size = true, 400 // longer than a signed one
			if err := s.Assign([]Session{signed, plain, padded}); err != nil {
				t.Fatal(err)
			}
			l.run(t, s)
			answers := map[string]bool{"signed": tt.signed, "plain": tt.plain, "padded": tt.padded}
			got := gather(t, s, func(got map[string]*Result) bool {
				for id, want := range answers {
					if !samples(id, 10)(got) || want && got[id].Totals.Received == 0 {
						return false
					}
				}
				return true
			})
			for id, want := range answers {
				if answered := got[id].Totals.Received > 0; answered != want {
					t.Errorf("%s answered: %v, want %v; %+v", id, answered, want, got[id].Totals)
				}
			}
		})
	}
}

// Who sees the packets go by and answers in time, without the key, is not
// believed by a session that is signed.
func TestForgedAnswerToSignedSession(t *testing.T) {
	l := newLab(t)
	port := l.echoUDP(t, func(b []byte) [][]byte {
		test := stamp.Test{Seq: uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), SSID: uint16(b[26])<<8 | uint16(b[27])}
		now := stamp.NTP(time.Now().UnixNano())
		forged := stamp.Reflected{SSID: test.SSID, Seq: 1, At: now, Error: 1, Received: now, SenderSeq: test.Seq, SenderAt: now, SenderError: 1}
		other, _ := stamp.NewKey([]byte(secondSecret))
		return [][]byte{forged.AppendMarshal(nil, nil), forged.AppendMarshal(nil, other)}
	})
	s := NewSender(Options{Handed: handed(t, firstSecret)})
	if err := s.Assign([]Session{{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: 300 * time.Millisecond, Authenticated: true}}); err != nil {
		t.Fatal(err)
	}
	l.run(t, s)
	got := gather(t, s, func(got map[string]*Result) bool { return samples("x", 10)(got) && s.Drops()[WrongKey] > 0 })["x"]
	if got.Totals.Received != 0 {
		t.Errorf("forged answers count: %+v", got.Totals)
	}
	if d := s.Drops(); d[Unsigned] == 0 {
		t.Errorf("dropped %v, want unsigned and wrong_key", d.ByReason())
	}
}

// An answer from another port of the target's host is none: whoever is a process
// there, and not the reflector, can send one.
func TestAnswerFromAnotherPort(t *testing.T) {
	l := newLab(t)
	var other *net.UDPConn
	var err error
	l.far.Do(t, func() { other, err = net.ListenUDP("udp4", &net.UDPAddr{}) })
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var asked *net.UDPConn
	l.far.Do(t, func() { asked, err = net.ListenUDP("udp4", &net.UDPAddr{}) })
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.WaitGroup
	answering.Go(func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := asked.ReadFromUDPAddrPort(packet)
			if err != nil {
				return // the test is over
			}
			test, _, _, _ := stamp.ParseTest(packet[:n], nil)
			now := stamp.NTP(time.Now().UnixNano())
			forged := stamp.Reflected{SSID: test.SSID, At: now, Error: 1, Received: now, SenderSeq: test.Seq, SenderAt: test.At, SenderError: 1}
			_, _ = other.WriteToUDPAddrPort(forged.AppendMarshal(nil, nil), from)
		}
	})
	defer answering.Wait()
	defer asked.Close()
	port := asked.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	s := l.start(t, Session{ID: "x", Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: 300 * time.Millisecond})
	got := gather(t, s, func(got map[string]*Result) bool { return samples("x", 10)(got) && s.Drops()[ForeignSource] > 0 })["x"]
	if got.Totals.Received != 0 {
		t.Errorf("answers from elsewhere count: %+v", got.Totals)
	}
}
