package usage

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/locate"
	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
)

// ciliumNode is a host as Cilium lays it out by default: one route for the
// range of all its pods, to an address of its own on cilium_host.
type ciliumNode struct{ *nstest.Net }

const router = "10.0.1.1"

func newCiliumNode(t *testing.T) ciliumNode {
	n := ciliumNode{nstest.New(t)}
	nstest.Veth(t, n.Net, "cilium_host", router+"/32", n.Net, "cilium_net", "")
	n.Route(t, "10.0.1.0/24", "cilium_host", router)
	return n
}

// addPod joins a pod to the node: a /32 in the pod, from where all goes to the
// router, and an interface without addresses or routes on the host.
func (n ciliumNode) addPod(t *testing.T, ip, hostInterface string) *nstest.Net {
	pod := nstest.New(t)
	nstest.Veth(t, n.Net, hostInterface, "", pod, "eth0", ip+"/32")
	pod.Route(t, router+"/32", "eth0", "")
	pod.Route(t, "0.0.0.0/0", "eth0", router)
	return pod
}

// published is what Cilium's agents have published: interfaces by pod UID.
type published struct {
	mu    sync.Mutex
	names map[string]string
	asked map[string]int
}

func (p *published) Interface(_ context.Context, _, name, uid string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		p.asked = map[string]int{}
	}
	p.asked[uid]++
	if p.names[uid] == "" {
		return "", fmt.Errorf("%s: %w", name, locate.ErrNotFound)
	}
	return p.names[uid], nil
}

func (p *published) set(names map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = names
}

type several []pods.Pod

func (s *several) List() []pods.Pod { return *s }

func podAt(uid, ip string) pods.Pod {
	return pods.Pod{Namespace: "shop", Name: "web-0", UID: uid, IPs: []netip.Addr{netip.MustParseAddr(ip)}}
}

// windows measures n windows that end a minute apart, beyond any back-off, and
// waits for every question in between.
func windows(t *testing.T, m *Meter, from time.Time, n int) (rates []Rate, end time.Time) {
	t.Helper()
	for range n {
		from = from.Add(time.Minute)
		if err := m.stats.read(m.now); err != nil {
			t.Fatal(err)
		}
		rates = m.rates(t.Context(), from)
		_ = m.find.asking.Wait()
	}
	return rates, from
}

func TestCilium(t *testing.T) {
	node, cilium, list := newCiliumNode(t), &published{}, &several{}
	var m *Meter
	var err error
	node.Do(t, func() { m, err = New(list, cilium, nil, slog.New(slog.DiscardHandler)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)

	first := node.addPod(t, "10.0.1.7", "lxc_first")
	*list = several{podAt("u1", "10.0.1.7")}
	got, now := windows(t, m, time.Now(), 3)
	if len(got) != 0 {
		t.Fatalf("rates of a pod that Cilium has not published: %+v", got)
	}
	cilium.set(map[string]string{"u1": "lxc_first"})
	_, now = windows(t, m, now, 3)
	transmit(t, first, 100)
	got, now = windows(t, m, now, 1)
	wantOne(t, got, "u1", 100)

	// A pod takes the place, the name and the address of another.
	if link, err := node.LinkByName("lxc_first"); err != nil || node.LinkDel(link) != nil {
		t.Fatal(err)
	}
	second := node.addPod(t, "10.0.1.7", "lxc_second")
	*list = several{podAt("u2", "10.0.1.7")}
	cilium.set(map[string]string{"u1": "lxc_first", "u2": "lxc_second"})
	_, now = windows(t, m, now, 3)
	transmit(t, second, 200)
	got, now = windows(t, m, now, 1)
	wantOne(t, got, "u2", 200)
	asked := cilium.asked["u2"]

	// An interface renamed is the same one.
	link, err := node.LinkByName("lxc_second")
	if err == nil {
		err = node.LinkSetDown(link)
	}
	if err == nil {
		err = node.LinkSetName(link, "renamed")
	}
	if err == nil {
		err = node.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	transmit(t, second, 50)
	got, now = windows(t, m, now, 1)
	wantOne(t, got, "u2", 50)
	if cilium.asked["u2"] != asked {
		t.Errorf("%d more questions about a pod that is known", cilium.asked["u2"]-asked)
	}

	*list = nil
	if got, _ = windows(t, m, now, 1); len(got) != 0 || len(m.known) != 0 {
		t.Errorf("of a pod that has gone: %+v", got)
	}
}

// transmit sends datagrams of 1000 octets with headers from the pod. Nobody
// need receive them: the host counts what comes out of the interface.
func transmit(t *testing.T, pod *nstest.Net, n int) {
	t.Helper()
	eth0, err := pod.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := pod.NeighSet(&netlink.Neigh{
		LinkIndex: eth0.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: net.ParseIP(router), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
	}); err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	pod.Do(t, func() { conn, err = net.Dial("udp", "10.0.9.9:9") })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		if _, err := conn.Write(make([]byte, 1000-42)); err != nil {
			t.Fatal(err)
		}
	}
}

// wantOne wants one rate: n datagrams over a minute.
func wantOne(t *testing.T, got []Rate, uid string, n int) {
	t.Helper()
	octets := func(r Rate) int { return int(float64(r.Tx) / 8 * r.Length.Seconds()) }
	if len(got) != 1 || got[0].UID != uid || octets(got[0]) < n*1000-10 || octets(got[0]) > n*1000+int(greetings/8) {
		t.Errorf("rates %+v; want one of %s with %d octets", got, uid, n*1000)
	}
}

// silent answers no question until its context ends.
type silent struct{}

func (silent) Interface(ctx context.Context, _, _, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// An API server that does not answer holds up neither the measurement nor the
// end of the agent, and what it never says is asked ever more rarely.
func TestSilentAPIServer(t *testing.T) {
	node := newCiliumNode(t)
	list := &several{}
	for i := range 20 {
		*list = append(*list, podAt(fmt.Sprint("u", i), fmt.Sprintf("10.0.1.%d", 10+i)))
	}
	var m *Meter
	var err error
	node.Do(t, func() { m, err = New(list, silent{}, nil, slog.New(slog.DiscardHandler)) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	for range 3 {
		m.at = time.Time{} // it is time
		if err := m.measure(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	m.close()
}

func TestQuestionsBackOff(t *testing.T) {
	node := newCiliumNode(t)
	handle := node.Handle
	synctest.Test(t, func(t *testing.T) {
		cilium := &published{}
		f := newFinder(handle, cilium, slog.New(slog.DiscardHandler))
		var s search
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(Window) {
			if _, ok := f.interfaceOf(t.Context(), podAt("u", "10.0.1.7"), &s, time.Now()); ok {
				t.Fatal("found what nobody knows")
			}
			synctest.Wait()
		}
		if n := cilium.asked["u"]; n < 15 || n > 25 {
			t.Errorf("%d questions in ten minutes; want about one a minute, and some more at first", n)
		}
	})
}
