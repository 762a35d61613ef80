package usage

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/await"
)

// Each layout is how a CNI joins a pod to its node. The pod is 10.77.0.2 and
// the host answers at 10.77.0.1.
var layouts = map[string]func(t *testing.T, host, pod *nstest.Net){
	"routed": func(t *testing.T, host, pod *nstest.Net) {
		nstest.Veth(t, host, "vethpod", "10.77.0.1/32", pod, "eth0", "10.77.0.2/24")
		host.Route(t, "10.77.0.2/32", "vethpod", "")
	},
	"bridged": func(t *testing.T, host, pod *nstest.Net) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "cni0"
		if err := host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			t.Fatal(err)
		}
		bridge := host.Up(t, "cni0", "10.77.0.1/24")
		nstest.Veth(t, host, "vethpod", "", pod, "eth0", "10.77.0.2/24")
		port, err := host.LinkByName("vethpod")
		if err == nil {
			err = host.LinkSetMaster(port, bridge)
		}
		if err != nil {
			t.Fatal(err)
		}
	},
}

type one struct{ pod pods.Pod }

func (o one) List() []pods.Pod { return []pods.Pod{o.pod} }

// greetings are more than what IPv6 says in a window when an interface has come up.
const greetings = bitrate.Rate(8 * 5000)

// meter is one of a node with one pod, and the list of that.
func meter(t *testing.T, host *nstest.Net) (m *Meter, list one) {
	t.Helper()
	list = one{pods.Pod{Namespace: "ns", Name: "pod", UID: "u", IPs: []netip.Addr{netip.MustParseAddr("10.77.0.2")}}}
	var err error
	host.Do(t, func() { m, err = New(list, nil, nil, slog.New(slog.DiscardHandler)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m, list
}

func TestMeter(t *testing.T) {
	for name, build := range layouts {
		t.Run(name, func(t *testing.T) {
			host, pod := nstest.New(t), nstest.New(t)
			build(t, host, pod)
			m, list := meter(t, host)
			send(t, pod, host, 1, 10) // the bridge learns from it

			now := time.Now()
			if err := m.stats.read(m.now); err != nil {
				t.Fatal(err)
			}
			if _, ok := m.rate(t.Context(), list.pod, now); ok {
				t.Fatal("a rate without a window")
			}
			send(t, pod, host, 100, 1000)
			if err := m.stats.read(m.now); err != nil {
				t.Fatal(err)
			}
			got, ok := m.rate(t.Context(), list.pod, now.Add(time.Second))
			// 100 datagrams of 1000 octets with 42 of Ethernet, IP and UDP, over one second.
			if sent := bitrate.Rate(100 * 1042 * 8); !ok || got.Tx < sent || got.Tx > sent+greetings || got.Rx > greetings {
				t.Errorf("rate %+v, %v; want tx just above %d bit/s, next to no rx", got, ok, sent)
			}
		})
	}
}

// A pod that has another address by now, as after a restart of the node, is not told to send what
// the one does that has its former one.
func TestWhoHasAnotherAddressIsLookedForAgain(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	layouts["routed"](t, host, pod)
	m, list := meter(t, host)
	if err := m.stats.read(m.now); err != nil {
		t.Fatal(err)
	}
	now, found := time.Now(), false
	for i, address := range []string{"10.77.0.2", "10.77.0.2", "198.51.100.9", "198.51.100.9"} {
		list.pod.IPs = []netip.Addr{netip.MustParseAddr(address)}
		_, found = m.rate(t.Context(), list.pod, now.Add(time.Duration(i)*Window))
		if i == 1 && !found {
			t.Fatal("no rate of the pod")
		}
	}
	if found {
		t.Error("a pod without an interface has the rate of another")
	}
}

// send sends datagrams from the pod to the host.
func send(t *testing.T, pod, host *nstest.Net, n, size int) {
	t.Helper()
	var to net.PacketConn
	var from net.Conn
	var err error
	host.Do(t, func() { to, err = net.ListenPacket("udp", "10.77.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	pod.Do(t, func() { from, err = net.Dial("udp", to.LocalAddr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for range n {
		if _, err := from.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		await.Read(t, "a datagram", to.(net.Conn), make([]byte, 2000))
	}
}

// What leaves the node is what its interfaces with a default route send.
func TestWhatLeavesTheNode(t *testing.T) {
	host, far := nstest.New(t), nstest.New(t)
	nstest.Veth(t, host, "up0", "10.77.1.2/16", far, "eth0", "10.77.0.1/16")
	host.Route(t, "0.0.0.0/0", "up0", "10.77.0.1")
	var m *Meter
	var err error
	host.Do(t, func() {
		if m, err = New(one{}, nil, nil, slog.New(slog.DiscardHandler)); err == nil {
			m.Uplinks, err = uplink.NewWatch(slog.New(slog.DiscardHandler))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	read := func() bitrate.Rate {
		if err := m.stats.read(m.now); err != nil {
			t.Fatal(err)
		}
		return m.left(time.Second)
	}
	send(t, host, far, 1, 10)
	if got := read(); got != 0 {
		t.Errorf("%v without a window", got)
	}
	send(t, host, far, 100, 1000)
	if got, sent := read(), bitrate.Rate(100*1042*8); got < sent || got > sent+greetings {
		t.Errorf("%v left the node, want just above %v", got, sent)
	}

	// A dump without the interface: what it sent before is not what it sends since.
	clear(m.now)
	if got := m.left(time.Second); got != 0 {
		t.Errorf("%v left by an interface that is gone", got)
	}
	if got := read(); got != 0 {
		t.Errorf("%v left in the window in which the interface came back", got)
	}
	send(t, host, far, 100, 1000)
	if got, sent := read(), bitrate.Rate(100*1042*8); got < sent || got > sent+greetings {
		t.Errorf("%v left the node since, want just above %v", got, sent)
	}
}

// hosts is a reader whose interfaces are all counted by the host's ends.
type hosts struct{}

func (hosts) inner(inner) (counters, error) { return counters{}, errors.New("not asked for") }
func (hosts) close()                        {}

// counted is one interface's counter, as told.
type counted struct {
	hosts
	octets uint64
}

func (c *counted) read(into map[int]counters) error {
	clear(into)
	into[1] = counters{rx: c.octets}
	return nil
}

// Who begins to send within a window is soon known to send as much as it does, not the mean
// of that and nothing; what was sent before is told too, and no octet twice.
func TestAChangeBeginsAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const octets = 1_250_000 // in half a window: 200 Mbit/s
		for name, tt := range map[string]struct {
			sent []uint64 // in each half of a window
			want []bitrate.Rate
		}{
			"steady":                    {[]uint64{octets, octets, octets, octets}, []bitrate.Rate{200 * bitrate.Mbit, 200 * bitrate.Mbit}},
			"begins with a window":      {[]uint64{0, 0, octets, octets, octets}, []bitrate.Rate{0, 200 * bitrate.Mbit, 200 * bitrate.Mbit}},
			"begins within a window":    {[]uint64{0, octets, octets, octets}, []bitrate.Rate{0, 200 * bitrate.Mbit, 200 * bitrate.Mbit}},
			"ends within a window":      {[]uint64{octets, 0, 0, 0}, []bitrate.Rate{200 * bitrate.Mbit, 0, 0}},
			"begins and ends at once":   {[]uint64{0, octets, 0, 0}, []bitrate.Rate{0, 200 * bitrate.Mbit, 0}},
			"changes too little for it": {[]uint64{octets, octets * 3 / 2}, []bitrate.Rate{250 * bitrate.Mbit}},
		} {
			var c counted
			pod := one{pods.Pod{UID: "u"}}
			m := &Meter{pods: pod, stats: &c, known: map[string]*known{"u": {index: 1}}, now: map[int]counters{}, before: map[int]counters{}}
			// A window of before, as steady as what follows begins.
			for n := 0; n < 3 || !m.last.at.Equal(m.at); n++ {
				if n > 0 {
					time.Sleep(Window / 2)
					c.octets += tt.sent[0]
				}
				if err := m.measure(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var got []bitrate.Rate
			_, cursor := m.Since(0)
			for _, sent := range tt.sent {
				time.Sleep(Window / 2)
				c.octets += sent
				if err := m.measure(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			rates, _ := m.Since(cursor)
			for _, r := range rates {
				got = append(got, r.Tx)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %v, want %v", name, got, tt.want)
			}
		}
	})
}

// A pod that nobody knows must not stop the others, nor cost a lookup each tick.
func TestUnknownPod(t *testing.T) {
	host := nstest.New(t)
	list := one{pods.Pod{UID: "u", IPs: []netip.Addr{netip.MustParseAddr("10.77.0.2")}}}
	var m *Meter
	var err error
	host.Do(t, func() { m, err = New(list, nil, nil, slog.New(slog.DiscardHandler)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	for range 3 {
		m.at = time.Time{} // it is time
		if err := m.measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if rates, cursor := m.Since(0); len(rates) != 0 || cursor != 3 {
		t.Errorf("Since = %v, %d", rates, cursor)
	}
	if k := m.known["u"]; k.search.failures > 2 || k.search.notUntil.IsZero() {
		t.Errorf("lookups do not back off: %+v", k)
	}
}

func TestSince(t *testing.T) {
	m := &Meter{}
	for i := range uint64(40) {
		m.kept[i%keep] = []Rate{{Name: "p", Tx: 1}}
		m.seq++
	}
	for _, tt := range []struct {
		cursor uint64
		want   int
	}{{0, 1}, {40, 0}, {38, 2}, {1, keep}, {99, 1}} {
		rates, cursor := m.Since(tt.cursor)
		if len(rates) != tt.want || cursor != 40 {
			t.Errorf("Since(%d): %d rates, cursor %d; want %d, 40", tt.cursor, len(rates), cursor, tt.want)
		}
	}
}

func FuzzParseStats(f *testing.F) {
	f.Add(make([]byte, 60))
	f.Fuzz(func(t *testing.T, msg []byte) { _ = parseStats(msg, map[int]counters{}) })
}

// held is counters that grow at 100 Mbit/s from a time on, and a host that stands still: at
// the nth reading for so long before and after they are read.
type held struct {
	hosts
	start         time.Time
	n             int
	before, after map[int]time.Duration
}

func (h *held) read(into map[int]counters) error {
	h.n++
	time.Sleep(h.before[h.n])
	into[1] = counters{rx: uint64(max(0, time.Since(h.start).Seconds()) * 100e6 / 8)}
	time.Sleep(h.after[h.n])
	return nil
}

// nobody limits anybody.
type nobody struct{}

func (nobody) Enforced(string) Enforced { return Enforced{} }

// measured is what a Meter that began at a time measures in two seconds.
func (h *held) measured(t *testing.T, began time.Time) []Rate {
	m := &Meter{
		pods: one{pods.Pod{UID: "u"}}, limiter: nobody{}, stats: h, find: &finder{handle: &netlink.Handle{}}, now: map[int]counters{}, before: map[int]counters{},
		known: map[string]*known{"u": {index: 1, at: began}}, at: began, last: reading{at: began},
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	var all []Rate
	done := make(chan struct{})
	go func() {
		defer close(done)
		for cursor := uint64(0); ; {
			next := m.Next()
			var rates []Rate
			rates, cursor = m.Since(cursor)
			all = append(all, rates...)
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := m.Run(ctx); err != nil {
		t.Error(err)
	}
	<-done
	return all
}

// A flood is known by a window of its own within half of the usual length.
func TestAFloodIsSoonKnown(t *testing.T) {
	const ms = time.Millisecond
	for _, after := range []time.Duration{1001 * ms, 1005 * ms, 1010 * ms, 1049 * ms, 1051 * ms, 1090 * ms} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			h := &held{start: began.Add(after)}
			known := time.Duration(0) // that it is one
			for _, r := range h.measured(t, began) {
				begun := max(h.start.Sub(r.At.Add(-r.Length)), 0) // of the window as it begins
				since := r.At.Sub(h.start)
				if known == 0 && r.Tx >= 97*bitrate.Mbit {
					known = since
				}
				switch {
				case since > Window/10 && begun > Window/4: // of less nobody would tell
					t.Errorf("a flood after %v: in a window of %v that began %v before it", after, r.Length, begun)
				case since <= 0 && r.Tx != 0:
					t.Errorf("%v before the flood", r.Tx)
				case since > Window/4 && r.Tx < 97*bitrate.Mbit:
					t.Errorf("a flood after %v: %v by %v after it", after, r.Tx, since)
				case r.At.Sub(began) < time.Second && r.Length != Window:
					t.Errorf("a window of %v while nothing changed", r.Length)
				}
			}
			if known == 0 || known > Window/2 {
				t.Errorf("a flood after %v is known %v after it began", after, known)
			}
		})
	}
}

// A host that stands still while it measures makes windows longer, and no rate wrong.
func TestHostThatStandsStill(t *testing.T) {
	const ms = time.Millisecond
	for name, h := range map[string]*held{
		"never":              {},
		"before it reads":    {before: map[int]time.Duration{8: 80 * ms}},
		"after it has read":  {after: map[int]time.Duration{8: 80 * ms}},
		"for a long time":    {before: map[int]time.Duration{8: 250 * ms}, after: map[int]time.Duration{12: 250 * ms}},
		"again and again":    {before: map[int]time.Duration{8: 30 * ms, 9: 30 * ms, 10: 30 * ms, 11: 30 * ms, 12: 30 * ms}},
		"whenever it has to": {after: map[int]time.Duration{8: 20 * ms, 10: 40 * ms, 11: 60 * ms, 13: 90 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h.start = time.Now()
				all, end := h.measured(t, h.start), h.start
				for _, r := range all {
					if r.Tx < 97*bitrate.Mbit || r.Tx > 103*bitrate.Mbit {
						t.Errorf("%v in the window of %v that ended after %v", r.Tx, r.Length, r.At.Sub(h.start))
					}
					if begin := r.At.Add(-r.Length); begin.Sub(end) > ms || end.Sub(begin) > ms {
						t.Errorf("a window began after %v, the one before ended after %v", begin.Sub(h.start), end.Sub(h.start))
					}
					end = r.At
				}
				if len(all) < 10 || end.Sub(h.start) < 1600*ms {
					t.Errorf("%d windows, the last ended after %v", len(all), end.Sub(h.start))
				}
			})
		})
	}
}

// bursts is counters that grow at 400 Mbit/s every other 50 ms, and at 20 in between.
type bursts struct {
	hosts
	start time.Time
}

func (b bursts) read(into map[int]counters) error {
	since := time.Since(b.start)
	bits := float64(since/Window)*(400e6+20e6)*(Window/2).Seconds() + 400e6*min(since%Window, Window/2).Seconds() + 20e6*max(since%Window-Window/2, 0).Seconds()
	into[1] = counters{rx: uint64(bits / 8)}
	return nil
}

// Who reads once a second, as reports are sent while all is calm, misses no window, also of
// pods that make every one a short one.
func TestNothingIsMissedInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := &Meter{
			pods: one{pods.Pod{UID: "u"}}, stats: bursts{start: began}, find: &finder{handle: &netlink.Handle{}}, now: map[int]counters{}, before: map[int]counters{},
			known: map[string]*known{"u": {index: 1, at: began}}, at: began, last: reading{at: began},
		}
		ctx, stop := context.WithTimeout(t.Context(), Window/2+Window/8+time.Second+Window) // a report may be a window late
		defer stop()
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
		if rates, seq := m.Since(1); seq < 20 || len(rates) != int(seq)-1 {
			t.Errorf("%d of %d windows are there", len(rates), seq-1)
		}
	})
}
