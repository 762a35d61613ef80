package enforce

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/await"
)

// node is a host namespace with one routed pod behind a veth.
type node struct {
	host, pod *nstest.Net
	list      []pods.Pod
	enforcer  *Enforcer
	index     int
}

func newNode(t testing.TB) *node {
	n := &node{host: nstest.New(t), pod: nstest.New(t)}
	nstest.Veth(t, n.host, "vethpod", "10.88.0.1/32", n.pod, "eth0", "10.88.0.2/24")
	n.host.Route(t, "10.88.0.2/32", "vethpod", "")
	link, err := n.host.LinkByName("vethpod")
	if err != nil {
		t.Fatal(err)
	}
	n.index = link.Attrs().Index
	n.list = []pods.Pod{{Namespace: "ns", Name: "pod", UID: "uid-1", IPs: []netip.Addr{netip.MustParseAddr("10.88.0.2")}}}
	n.restart(t)
	return n
}

// restart replaces the agent: nothing but the kernel remembers.
func (n *node) restart(t testing.TB) {
	var err error
	n.host.Do(t, func() { n.enforcer, err = New(n, slog.New(slog.DiscardHandler), prometheus.NewRegistry()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.enforcer.kernel.Close() })
}

func (n *node) List() []pods.Pod         { return n.list }
func (n *node) Changed() <-chan struct{} { return nil }
func (n *node) Synced() bool             { return true }

func (n *node) annotate(egress, ingress string) {
	n.list[0].Egress, n.list[0].Ingress = egress, ingress
	n.enforcer.reconcile(false)
}

// buckets returns our limiters' rates in octets/s by interface name.
func (n *node) buckets(t testing.TB) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	links, err := n.host.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		now, err := kernel{n.host.Handle}.limiter(l.Attrs().Index)
		if err != nil {
			t.Fatal(err)
		}
		if now.class != nil {
			out[l.Attrs().Name] = now.class.Rate
		}
	}
	return out
}

func (n *node) redirected(t testing.TB) bool {
	t.Helper()
	root, err := kernel{n.host.Handle}.ingressOf(n.index)
	if err != nil {
		t.Fatal(err)
	}
	return root.redirects != 0
}

func TestFollowsTheAnnotations(t *testing.T) {
	n := newNode(t)
	ifb := ifbName("uid-1")
	n.annotate("", "")
	if got := n.buckets(t); len(got) != 0 || n.redirected(t) {
		t.Fatalf("without annotations: %v", got)
	}
	// Whatever the CNI bandwidth plugin takes.
	for _, rate := range []string{"100M", "10M", "1G", "800k", "100Ki", "1k", "1e6", "10e6", "0.5G", "1P"} {
		n.annotate(rate, "")
		want, err := bitrate.ParseLimit(rate)
		if err != nil {
			t.Fatal(err)
		}
		got := n.buckets(t)
		if got[ifb] != bucketOf(want).rate || len(got) != 1 || !n.redirected(t) {
			t.Fatalf("egress %s: %v", rate, got)
		}
		if e := n.enforcer.Enforced("uid-1"); e.Egress != want || e.Ingress != 0 || e.Behind == 0 {
			t.Errorf("egress %s: Enforced = %+v", rate, e)
		}
	}
	n.annotate("20M", "30M")
	if got := n.buckets(t); got["vethpod"] != bucketOf(30*bitrate.Mbit).rate || got[ifb] != bucketOf(20*bitrate.Mbit).rate {
		t.Fatalf("both: %v", got)
	}
	n.annotate("much", "30M") // unreadable: what is in force stays
	if got := n.buckets(t); got[ifb] != bucketOf(20*bitrate.Mbit).rate || n.enforcer.applied["uid-1"].err == "" {
		t.Fatalf("unreadable: %v, error %q", got, n.enforcer.applied["uid-1"].err)
	}
	n.annotate("", "")
	if got := n.buckets(t); n.redirected(t) || got[ifb] != open.rate || got["vethpod"] != open.rate {
		t.Fatalf("removed: %v; want what waits to be let go", got)
	}
	n.enforcer.reconcile(true)
	if got := n.buckets(t); len(got) != 0 {
		t.Fatalf("after the removal: %v", got)
	}
	if _, err := n.host.LinkByName(ifb); !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Errorf("the ifb is still there: %v", err)
	}
}

// An interface whose address two pods claimed is limited for nobody who is gone: what was put
// there for the first would drop all that the second sends, once its ifb is removed.
func TestWhoGetsAnothersAddressIsNotLimitedForIt(t *testing.T) {
	n := newNode(t)
	second := n.list[0]
	second.UID = "uid-2"
	n.list = append(n.list, second)
	n.enforcer.reconcile(true) // the second was looked at, and needs nothing
	n.annotate("10M", "20M")
	if !n.redirected(t) {
		t.Fatal("the first is not limited")
	}
	n.list = n.list[1:]
	n.enforcer.reconcile(true)
	if n.redirected(t) {
		t.Error("what the second sends goes to the ifb of the first")
	}
	for range mostLooks {
		n.enforcer.reconcile(true)
	}
	if got := n.buckets(t); len(got) > 0 {
		t.Errorf("limiters of a pod that is gone: %v", got)
	}
}

// Who has another address by now, as after a restart of the node, leaves nothing on the interface
// of the pod that has its former one.
func TestWhoHasAnotherAddressLeavesTheFormerOne(t *testing.T) {
	n := newNode(t)
	second := n.list[0]
	second.UID = "uid-2"
	n.list = append(n.list, second)
	n.enforcer.reconcile(true)
	n.annotate("10M", "20M")
	if !n.redirected(t) {
		t.Fatal("the first is not limited")
	}
	n.list[0].IPs = []netip.Addr{netip.MustParseAddr("198.51.100.9")}
	n.enforcer.reconcile(false)
	if n.redirected(t) {
		t.Error("what the second sends goes to the ifb of the first")
	}
}

// An agent that starts anew finds its limits in the kernel, changes what
// differs and removes what nobody asks for any more.
func TestRestart(t *testing.T) {
	n := newNode(t)
	n.annotate("100M", "50M")
	before, err := n.host.LinkByName(ifbName("uid-1"))
	if err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	if len(n.buckets(t)) != 2 || !n.redirected(t) {
		t.Fatal("the limits did not outlive the agent")
	}
	n.enforcer.reconcile(true)
	after, err := n.host.LinkByName(ifbName("uid-1"))
	if err != nil || after.Attrs().Index != before.Attrs().Index {
		t.Errorf("the ifb was made anew: %v", err)
	}
	if e := n.enforcer.Enforced("uid-1"); e.Egress != 100*bitrate.Mbit || e.Ingress != 50*bitrate.Mbit {
		t.Errorf("Enforced = %+v", e)
	}
	n.restart(t)
	n.list[0].Egress, n.list[0].Ingress = "", ""
	n.enforcer.reconcile(true)
	n.enforcer.reconcile(true)
	if got := n.buckets(t); len(got) != 0 || n.redirected(t) {
		t.Errorf("annotations removed while no agent ran: %v", got)
	}
}

// What a new agent says of a limit is what was in force before it, and nothing where it is the
// same, with whatever rate. What it can't read it leaves.
func TestANewAgentKnowsWhatWasInForce(t *testing.T) {
	n := newNode(t)
	n.annotate("100M", "12345678")
	for _, step := range []struct {
		egress, ingress string
		says            []string // "": nothing
		bucket          bitrate.Rate
	}{
		{"100M", "12345678", nil, 100 * bitrate.Mbit},
		{"20M", "12345678", []string{"egress=20M", "oldEgress=100M"}, 20 * bitrate.Mbit},
		{"20M", "unreadable", nil, 20 * bitrate.Mbit},
		{"", "", []string{"egress=0", "oldEgress=20M"}, 0},
		{"", "", nil, 0},
	} {
		n.restart(t)
		var log strings.Builder
		n.enforcer.log = slog.New(slog.NewTextHandler(&log, nil))
		n.list[0].Egress, n.list[0].Ingress = step.egress, step.ingress
		n.enforcer.reconcile(true)
		said := ""
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "limits of a pod changed") {
				said += line
			}
		}
		for _, part := range step.says {
			if !strings.Contains(said, part) {
				t.Errorf("%q and %q: %q lacks %s", step.egress, step.ingress, said, part)
			}
		}
		if step.says == nil && said != "" {
			t.Errorf("%q and %q: it says %q", step.egress, step.ingress, said)
		}
		if got := n.buckets(t); step.bucket != 0 && (got[ifbName("uid-1")] != bucketOf(step.bucket).rate || got["vethpod"] != bucketOf(12_345_678).rate) {
			t.Errorf("%q and %q: in force is %v", step.egress, step.ingress, got)
		}
		n.enforcer.reconcile(true) // and what was lifted goes
	}
}

// A pod that goes takes its ifb with it, and only its own.
func TestPodGone(t *testing.T) {
	n := newNode(t)
	n.annotate("100M", "")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "ifb7"
	if err := n.host.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	n.list = nil
	n.enforcer.reconcile(true)
	if _, err := n.host.LinkByName(ifbName("uid-1")); err == nil {
		t.Error("the ifb outlived its pod")
	}
	if _, err := n.host.LinkByName("ifb7"); err != nil {
		t.Errorf("somebody else's ifb was removed: %v", err)
	}
	if e := n.enforcer.Enforced("uid-1"); e.Egress != 0 {
		t.Errorf("Enforced = %+v", e)
	}
}

// The last agent lifts its limits; one that is to be replaced leaves them.
func TestEnd(t *testing.T) {
	for _, retired := range []bool{false, true} {
		n := newNode(t)
		n.annotate("20M", "30M")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n.enforcer.Run(ctx, func() bool { return retired }); err != nil {
			t.Fatal(err)
		}
		if got := n.buckets(t); (len(got) == 0) != retired || n.redirected(t) == retired {
			t.Errorf("retired %v: left %v, redirected %v", retired, got, n.redirected(t))
		}
	}
}

// What a pod answers the node, the kubelet's probes above all, does not wait in
// its limiter. What it sends on its own accord does, also to the node: behind a
// node port may be another node.
func TestRepliesToTheNodePass(t *testing.T) {
	bothFamilies := func(n *node) {
		n.host.Up(t, "vethpod", "fd88::1/64")
		n.pod.Up(t, "eth0", "fd88::2/64")
		n.list[0].IPs = []netip.Addr{netip.MustParseAddr("fd88::2"), netip.MustParseAddr("10.88.0.2")}
	}
	for _, tt := range []struct {
		name, node, pod string
		prepare         func(*node)
	}{
		{"IPv4", "10.88.0.1", "10.88.0.2", func(*node) {}},
		{"IPv6", "fd88::1", "fd88::2", func(n *node) {
			n.host.Up(t, "vethpod", "fd88::1/64")
			n.pod.Up(t, "eth0", "fd88::2/64")
			n.list[0].IPs = []netip.Addr{netip.MustParseAddr("fd88::2")}
		}},
		{"IPv4 of both families", "10.88.0.1", "10.88.0.2", bothFamilies},
		{"IPv6 of both families", "fd88::1", "fd88::2", bothFamilies},
		{"a first address that the node has no route to", "10.88.0.1", "10.88.0.2", func(n *node) {
			n.list[0].IPs = []netip.Addr{netip.MustParseAddr("fd99::2"), netip.MustParseAddr("10.88.0.2")}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.prepare(n)
			n.annotate("10M", "")
			before := n.tc(t, "filter show dev vethpod parent ffff:")
			n.restart(t)
			n.annotate("20M", "")
			if n.enforcer.applied["uid-1"].err != "" {
				t.Fatal(n.enforcer.applied["uid-1"].err)
			}
			if after := n.tc(t, "filter show dev vethpod parent ffff:"); after != before {
				t.Errorf("the next agent changed the filters from\n%s\nto\n%s", before, after)
			}
			if waited := n.transfer(t, n.host, n.pod, net.JoinHostPort(tt.pod, "8080")); waited > 10_000 { // IPv6 greets its neighbours now and then
				t.Errorf("%d octets of an answer to the node waited in the limiter", waited)
			}
			if waited := n.transfer(t, n.pod, n.host, net.JoinHostPort(tt.node, "30080")); waited < 100_000 {
				t.Error("what the pod sent to a node port did not pass the limiter")
			}
		})
	}
}

// What a pod calls a neighbour solicitation passes its limiter to its neighbours alone: to others
// it is routed like all else.
func TestSolicitationsAreNoWayPastTheLimit(t *testing.T) {
	n := newNode(t)
	n.host.Up(t, "vethpod", "fd88::1/64")
	n.pod.Up(t, "eth0", "fd88::2/64")
	n.pod.Route(t, "fd99::/64", "eth0", "fd88::1")
	n.list[0].IPs = []netip.Addr{netip.MustParseAddr("fd88::2")}
	n.annotate("10M", "")
	if err := n.enforcer.applied["uid-1"].err; err != "" {
		t.Fatal(err)
	}
	var conn net.PacketConn
	var err error
	n.pod.Do(t, func() { conn, err = net.ListenPacket("ip6:ipv6-icmp", "fd88::2") })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	flood := make([]byte, 1000)
	flood[0] = 135
	const sent = 30
	for range sent {
		if _, err := conn.WriteTo(flood, &net.IPAddr{IP: net.ParseIP("fd99::9")}); err != nil {
			t.Fatal(err)
		}
	}
	await.Until(t, "all that is routed passes the limiter", func() bool { return n.passed(t) >= sent*1000 })
}

// transfer sends 100 kB from client to server, which listens on address, and
// back, and returns how many octets passed the limiter meanwhile.
func (n *node) transfer(t *testing.T, client, server *nstest.Net, address string) uint64 {
	t.Helper()
	before := n.passed(t)
	var listener net.Listener
	var conn net.Conn
	var err error
	server.Do(t, func() { listener, err = net.Listen("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	client.Do(t, func() { conn, err = net.Dial("tcp", address) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = conn.Write(make([]byte, 100_000))
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	b := make([]byte, 100_000)
	for got := 0; got < len(b); {
		got += await.Read(t, "what was sent comes back", conn, b[got:])
	}
	return n.passed(t) - before
}

// Traffic control of others is refused and left as it was.
func TestForeign(t *testing.T) {
	for name, commands := range map[string][]string{
		"root":    {"qdisc add dev vethpod root handle 1: tbf rate 10mbit burst 64kb limit 1mb"},
		"clsact":  {"qdisc add dev vethpod clsact"},
		"ingress": {"qdisc add dev vethpod handle ffff: ingress", "filter add dev vethpod parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev lo"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			for _, c := range commands {
				n.tc(t, c)
			}
			before := n.tc(t, "qdisc show dev vethpod") + n.tc(t, "filter show dev vethpod parent ffff:")
			n.annotate("100M", "100M")
			n.enforcer.reconcile(true)
			if text := n.enforcer.applied["uid-1"].err; !strings.Contains(text, errForeign.Error()) {
				t.Errorf("reported %q", text)
			}
			n.annotate("", "")
			n.enforcer.reconcile(true)
			after := n.tc(t, "qdisc show dev vethpod") + n.tc(t, "filter show dev vethpod parent ffff:")
			if before != after {
				t.Errorf("foreign traffic control changed:\n%s\nto\n%s", before, after)
			}
		})
	}
}

func (n *node) tc(t testing.TB, args string) string {
	t.Helper()
	var out []byte
	var err error
	n.host.Do(t, func() { out, err = exec.Command("tc", strings.Fields(args)...).CombinedOutput() })
	if err != nil && !strings.HasPrefix(args, "filter show") {
		t.Fatalf("tc %s: %v\n%s", args, err, out)
	}
	return string(out)
}
