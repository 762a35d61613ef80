package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is two namespaces joined by a veth pair: the sender's and the target's.
type lab struct {
	near, far *nstest.Net
}

func newLab(t testing.TB) lab {
	l := lab{nstest.New(t), nstest.New(t)}
	nstest.Veth(t, l.near, "near", "10.99.0.1/24", l.far, "far", "10.99.0.2/24")
	v6 := func(n *nstest.Net, name, addr string) { n.Up(t, name, addr) }
	v6(l.near, "near", "fd99::1/64")
	v6(l.far, "far", "fd99::2/64")
	l.warmUp(t)
	l.near.Do(t, func() { setPingGroups(t, "0 2147483647") })
	return l
}

// setPingGroups sets who may open ping sockets in the current namespace.
func setPingGroups(t testing.TB, groups string) {
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(groups), 0o644); err != nil {
		t.Logf("set the groups of ping sockets: %v", err)
	}
}

// warmUp returns when IPv6 works: its neighbour discovery takes a moment after
// an interface came up.
func (l lab) warmUp(t testing.TB) {
	port := l.echoUDP(t, nil)
	var conn net.Conn
	var err error
	l.near.Do(t, func() { conn, err = net.Dial("udp", net.JoinHostPort("fd99::2", strconv.Itoa(int(port)))) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	await.Until(t, "an answer by IPv6", func() bool {
		_, _ = conn.Write([]byte("?"))
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := conn.Read(make([]byte, 8))
		return err == nil
	})
}

// echoUDP answers every datagram in the far namespace. mangle may return nil to
// drop it, or several packets.
func (l lab) echoUDP(t testing.TB, mangle func([]byte) [][]byte) uint16 {
	var conn net.PacketConn
	var err error
	l.far.Do(t, func() { conn, err = net.ListenPacket("udp", ":0") })
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			out := [][]byte{b[:n]}
			if mangle != nil {
				out = mangle(b[:n])
			}
			for _, p := range out {
				_, _ = conn.WriteTo(p, from)
			}
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// reflect runs a STAMP reflector in the far namespace.
func (l lab) reflect(t testing.TB, opts ReflectorOptions) (uint16, *Reflector) {
	var conn *net.UDPConn
	var err error
	l.far.Do(t, func() { conn, err = net.ListenUDP("udp", &net.UDPAddr{}) })
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReflector(conn, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port(), r
}

// listenTCP accepts and closes.
func (l lab) listenTCP(t testing.TB) uint16 {
	var ln net.Listener
	var err error
	l.far.Do(t, func() { ln, err = net.Listen("tcp", ":0") })
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); done.Wait() })
	return ln.Addr().(*net.TCPAddr).AddrPort().Port()
}

// start runs a Sender in the near namespace for the length of the test.
func (l lab) start(t testing.TB, sessions ...Session) *Sender {
	s := NewSender(Options{Resolver: fakeNames{}})
	if err := s.Assign(sessions); err != nil {
		t.Fatal(err)
	}
	l.run(t, s)
	return s
}

// run serves s in the near namespace for the length of the test.
func (l lab) run(t testing.TB, s *Sender) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { l.near.Do(t, func() { _ = s.Run(ctx) }) })
	t.Cleanup(func() { cancel(); done.Wait() })
}

type fakeNames struct{}

func (fakeNames) LookupHost(_ context.Context, host string) ([]string, error) {
	if host == "far.test" {
		return []string{"10.99.0.2"}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// gather collects until each session has samples or an error for the wanted
// number of times, and returns everything by session.
func gather(t testing.TB, s *Sender, enough func(map[string]*Result) bool) map[string]*Result {
	t.Helper()
	got := map[string]*Result{}
	await.Success(t, "what sessions measure", func() error {
		s.Collect(func(r Result) {
			if !slices.IsSortedFunc(r.Samples, func(a, b Sample) int { return cmp.Compare(b.Age, a.Age) }) {
				t.Errorf("%s: samples are not in the order of sending", r.Session.ID)
			}
			all := got[r.Session.ID]
			if all == nil {
				all = &Result{}
				got[r.Session.ID] = all
			}
			samples := all.Samples
			*all = r
			samples = append(samples, r.Samples...)
			all.Samples = samples
		})
		if enough(got) {
			return nil
		}
		var so strings.Builder
		for id, r := range got {
			fmt.Fprintf(&so, "%s: %+v, %d samples, %v, %v; ", id, r.Totals, len(r.Samples), r.Err, r.Timestamps)
		}
		return errors.New(so.String())
	})
	return got
}

func samples(id string, n int) func(map[string]*Result) bool {
	return func(got map[string]*Result) bool { return got[id] != nil && len(got[id].Samples) >= n }
}

// noLoss is a timeout that an answer keeps on a busy machine too; on one that stood still as
// long it comes late, and then counts as that besides.
const noLoss = 5 * time.Second

// Every prober behaves alike: this is the contract.
func TestConformance(t *testing.T) {
	l := newLab(t)
	udp, tcp := l.echoUDP(t, nil), l.listenTCP(t)
	stamp, _ := l.reflect(t, ReflectorOptions{})
	targets := map[string]Session{
		"stamp":  {Protocol: workload.STAMP, Host: "10.99.0.2", Port: stamp},
		"stamp6": {Protocol: workload.STAMP, Host: "fd99::2", Port: stamp},
		"udp":    {Protocol: workload.UDP, Host: "10.99.0.2", Port: udp},
		"udp6":   {Protocol: workload.UDP, Host: "fd99::2", Port: udp},
		"tcp":    {Protocol: workload.TCP, Host: "10.99.0.2", Port: tcp},
		"tcp6":   {Protocol: workload.TCP, Host: "fd99::2", Port: tcp},
		"icmp":   {Protocol: workload.ICMP, Host: "10.99.0.2"},
		"icmp6":  {Protocol: workload.ICMP, Host: "fd99::2"},
	}
	for name, target := range targets {
		t.Run(name, func(t *testing.T) { conform(t, l, target) })
	}
}

func conform(t *testing.T, l lab, target Session) {
	target.Interval, target.Timeout = 5*time.Millisecond, noLoss
	good, vanished, unnamed := target, target, target
	vanished.Timeout = 200 * time.Millisecond
	good.ID, vanished.ID, unnamed.ID = "good", "vanished", "unnamed"
	good.DSCP = 46
	vanished.Host = "10.99.0.77"
	if netip.MustParseAddr(target.Host).Is6() {
		vanished.Host = "fd99::77"
	}
	unnamed.Host = "nowhere.test"
	s := l.start(t, good, vanished, unnamed)
	got := gather(t, s, func(got map[string]*Result) bool {
		return samples("good", 50)(got) && got["good"].Totals.Received >= 50 && samples("vanished", 1)(got) && got["unnamed"].Err != nil
	})

	r := got["good"]
	if r.Err != nil || r.Timestamps != SourceKernel {
		t.Errorf("good: error %v, timestamps by %v; want none, kernel", r.Err, r.Timestamps)
	}
	if r.Totals.Lost != r.Totals.Late || r.Totals.Duplicated+r.Totals.Reordered != 0 {
		t.Errorf("good: totals %+v", r.Totals)
	}
	for i, sample := range r.Samples {
		if sample.Lost && r.Totals.Late > 0 {
			continue
		}
		if sample.HasOneWay != (target.Protocol == workload.STAMP) {
			t.Fatalf("good: sample %d has one-way delays: %v", i, sample.HasOneWay)
		}
		// Both ends share this machine's clock, so the one-way delays are true ones.
		if sum := sample.Forward + sample.Backward; sample.HasOneWay && (sample.Forward <= 0 || sample.Backward <= 0 || sum != sample.RTT || sample.Stay <= 0) {
			t.Fatalf("good: sample %d: forward %v, backward %v, round trip %v", i, sample.Forward, sample.Backward, sample.RTT)
		}
		if sample.Lost || sample.RTT <= 0 || sample.RTT > sample.Age+time.Millisecond {
			t.Fatalf("good: sample %d: %+v", i, sample)
		}
	}
	if v := got["vanished"]; !v.Samples[0].Lost || v.Samples[0].RTT != 0 || v.Totals.Received != 0 {
		t.Errorf("vanished: %+v, first sample %+v", v.Totals, v.Samples[0])
	}
	if u := got["unnamed"]; u.Totals.Sent != 0 || len(u.Samples) != 0 {
		t.Errorf("unnamed: %+v, %d samples; want nothing sent", u.Totals, len(u.Samples))
	}
}

// Without the kernel's timestamps the result says so, and answers are read as
// they come.
func TestUserTimestamps(t *testing.T) {
	l := newLab(t)
	s := NewSender(Options{UserTimestamps: true})
	session := Session{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: l.echoUDP(t, nil), Interval: 5 * time.Millisecond}
	if err := s.Assign([]Session{session}); err != nil {
		t.Fatal(err)
	}
	l.run(t, s)
	if r := gather(t, s, samples("x", 20))["x"]; r.Timestamps != SourceUser || r.Samples[0].HasQueue {
		t.Errorf("timestamps by %v, first sample %+v", r.Timestamps, r.Samples[0])
	}
}

// A kernel that promises timestamps and gives none is found out, and what was
// read late until then is no sample.
func TestMissingTimestamps(t *testing.T) {
	l := newLab(t)
	s := NewSender(Options{})
	session := Session{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: l.echoUDP(t, nil), Interval: 5 * time.Millisecond}
	if err := s.Assign([]Session{session}); err != nil {
		t.Fatal(err)
	}
	l.near.Do(t, func() {
		d, err := newDatagram(s, &echo{length: echoSize}, kind{protocol: workload.UDP}, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, 0); err != nil {
			t.Fatal(err)
		}
		s.probers[kind{protocol: workload.UDP}] = d
	})
	l.run(t, s)
	r := gather(t, s, samples("x", 20))["x"]
	measured := slices.DeleteFunc(r.Samples, func(s Sample) bool { return s.Lost })
	if r.Timestamps != SourceUser || r.Totals.Received < uint64(len(measured)+patience) {
		t.Errorf("timestamps by %v; %+v, %d samples", r.Timestamps, r.Totals, len(measured))
	}
}

// Where ping sockets are not allowed a raw one does, for those who may.
func TestRawICMP(t *testing.T) {
	l := newLab(t)
	l.near.Do(t, func() { setPingGroups(t, "1 0") })
	for _, host := range []string{"10.99.0.2", "fd99::2"} {
		t.Run(host, func(t *testing.T) { conform(t, l, Session{Protocol: workload.ICMP, Host: host}) })
	}
}

// Steady state, a packet costs no allocation, neither here nor at the
// reflector. (The runtime's accept allocates, so TCP cannot be counted.)
func TestStepDoesNotAllocate(t *testing.T) {
	l := newLab(t)
	stamp, _ := l.reflect(t, ReflectorOptions{})
	for _, target := range []Session{{Protocol: workload.STAMP, Port: stamp}, {Protocol: workload.ICMP}} {
		s := NewSender(Options{})
		target.ID, target.Host, target.Interval, target.Timeout = "x", "10.99.0.2", time.Millisecond, 50*time.Millisecond
		if err := s.Assign([]Session{target}); err != nil {
			t.Fatal(err)
		}
		l.near.Do(t, func() {
			for range 200 { // grow what grows once
				s.step(s.now())
				time.Sleep(time.Millisecond)
			}
			sent := s.sessions[0].totals.Sent
			n := testing.AllocsPerRun(200, func() {
				s.step(s.now())
				time.Sleep(time.Millisecond)
			})
			if n != 0 || s.sessions[0].totals.Sent < sent+50 || s.sessions[0].totals.Received == 0 {
				t.Errorf("%s: %v allocations a step; %+v", target.Protocol, n, s.sessions[0].totals)
			}
		})
		for _, p := range s.probers {
			p.close()
		}
	}
}

// A session that stays in the assignment keeps its totals and its sequence; one
// that goes is gone.
func TestAssignLeavesOthersAlone(t *testing.T) {
	l := newLab(t)
	port := l.echoUDP(t, nil)
	one := Session{ID: "one", Protocol: workload.UDP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: noLoss}
	two, three := one, one
	two.ID, three.ID = "two", "three"
	s := l.start(t, one, two)
	before := gather(t, s, samples("one", 20))["one"].Totals
	if err := s.Assign([]Session{three, one, {ID: "bad"}}); err == nil {
		t.Error("a session without a host was accepted")
	}
	after := gather(t, s, func(got map[string]*Result) bool {
		return samples("three", 20)(got) && samples("one", 20)(got)
	})
	if after["two"] != nil {
		t.Error("two is still there")
	}
	if after["one"].Totals.Sent < before.Received+20 || after["one"].Totals.Lost != after["one"].Totals.Late {
		t.Errorf("one: %+v after %+v", after["one"].Totals, before)
	}
}

// What comes back wrong is counted by reason and never becomes a sample.
func TestForeignPackets(t *testing.T) {
	l := newLab(t)
	n := 0
	port := l.echoUDP(t, func(b []byte) [][]byte {
		n++
		forged, unknown := append([]byte(nil), b...), append([]byte(nil), b...)
		forged[20] ^= 1
		unknown[5] ^= 0x80
		long := append(append([]byte(nil), b...), make([]byte, 1000)...)
		return [][]byte{b, b, forged, unknown, b[:10], {}, long}
	})
	s := l.start(t, Session{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: noLoss})
	r := gather(t, s, samples("x", 20))["x"]
	if r.Totals.Duplicated < 19 || r.Totals.Received < 20 || r.Totals.Lost != r.Totals.Late {
		t.Errorf("totals %+v", r.Totals)
	}
	if d := s.Drops(); d[WrongKey] < 19 || d[ForeignSession] < 19 || d[Short] < 2*19 || d[Malformed] < 19 {
		t.Errorf("drops %+v", d)
	}
}

// Answers that come late, twice or in another order are counted as what they are.
func TestLateAndReordered(t *testing.T) {
	l := newLab(t)
	var held []byte
	n := 0
	port := l.echoUDP(t, func(b []byte) [][]byte {
		n++
		switch n % 10 {
		case 3:
			held = append([]byte(nil), b...)
			return nil
		case 4:
			return [][]byte{b, held}
		case 7:
			return nil
		}
		return [][]byte{b}
	})
	s := l.start(t, Session{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: 100 * time.Millisecond})
	r := gather(t, s, func(got map[string]*Result) bool {
		return samples("x", 100)(got) && got["x"].Totals.Reordered >= 5 && got["x"].Totals.Lost >= 5
	})["x"]
	if r.Totals.Duplicated != 0 {
		t.Errorf("totals %+v", r.Totals)
	}
}

func BenchmarkStep(b *testing.B) {
	l := newLab(b)
	port := l.echoUDP(b, nil)
	for _, n := range []int{20, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var sessions []Session
			for i := range n {
				sessions = append(sessions, Session{ID: strconv.Itoa(i), Protocol: workload.UDP, Host: "10.99.0.2", Port: port})
			}
			s := l.start(b, sessions...)
			b.ReportAllocs()
			for b.Loop() {
				time.Sleep(100 * time.Millisecond)
				s.Collect(func(Result) {})
			}
		})
	}
}
