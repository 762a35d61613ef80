package usage

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
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

func TestMeter(t *testing.T) {
	for name, build := range layouts {
		t.Run(name, func(t *testing.T) {
			host, pod := nstest.New(t), nstest.New(t)
			build(t, host, pod)
			list := one{pods.Pod{Namespace: "ns", Name: "pod", UID: "u", IPs: []netip.Addr{netip.MustParseAddr("10.77.0.2")}}}
			var m *Meter
			var err error
			host.Do(t, func() { m, err = New(list, nil, nil, slog.New(slog.DiscardHandler)) })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.close)
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
			if sent := int64(100 * 1042 * 8); !ok || int64(got.Tx) < sent || int64(got.Tx) > sent+5000 || int64(got.Rx) > 5000 {
				t.Errorf("rate %+v, %v; want tx just above %d bit/s, next to no rx", got, ok, sent)
			}
		})
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
		if _, _, err := to.ReadFrom(make([]byte, 2000)); err != nil {
			t.Fatal(err)
		}
	}
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
