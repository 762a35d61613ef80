// Package nstest gives tests private network namespaces and links between
// them. A namespace has no name and belongs to the test process alone: it
// goes when the test ends, however it ends.
package nstest

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Net is one network namespace, with a netlink handle inside it.
type Net struct {
	*netlink.Handle
	handle netns.NsHandle
}

// New makes a namespace with its loopback up. Without root the test is
// skipped; where CI is set that is a failure.
func New(t testing.TB) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("network namespaces need root, and CI must not skip them")
		}
		t.Skip("network namespaces need root")
	}
	n := &Net{}
	var err error
	onOwnThread(func() {
		// The thread ends with the goroutine, and the handle keeps the namespace.
		if n.handle, err = netns.New(); err == nil {
			n.Handle, err = netlink.NewHandle()
		}
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		n.Close()
		n.handle.Close()
	})
	lo, err := n.LinkByName("lo")
	if err == nil {
		err = n.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatalf("bring the loopback up: %v", err)
	}
	return n
}

// onOwnThread runs f on a thread that is thrown away after it.
func onOwnThread(f func()) {
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		f()
	})
	done.Wait()
}

// Do runs f inside the namespace and waits for it. Goroutines that f starts are
// outside; sockets that f opens stay inside.
func (n *Net) Do(t testing.TB, f func()) {
	t.Helper()
	if err := n.Run(f); err != nil {
		t.Fatal(err)
	}
}

// Run is Do for where there is no test to fail.
func (n *Net) Run(f func()) (err error) {
	onOwnThread(func() {
		if err = netns.Set(n.handle); err == nil {
			f()
		} else {
			err = fmt.Errorf("enter the network namespace: %w", err)
		}
	})
	return err
}

// FD returns the namespace for netlink calls that take one.
func (n *Net) FD() int { return int(n.handle) }

// Veth joins a and b by a pair of interfaces with these names and addresses in
// CIDR form; an empty address leaves an end without one.
func Veth(t testing.TB, a *Net, nameA, addrA string, b *Net, nameB, addrB string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = nameA
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.FD())}
	if err := a.LinkAdd(veth); err != nil {
		t.Fatalf("make veth %s–%s: %v", nameA, nameB, err)
	}
	a.Up(t, nameA, addrA)
	b.Up(t, nameB, addrB)
}

// Up brings an interface up with an address, which may be empty.
func (n *Net) Up(t testing.TB, name, addr string) netlink.Link {
	t.Helper()
	link, err := n.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	if addr != "" {
		parsed, err := netlink.ParseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.IP.To4() == nil {
			parsed.Flags = 0x02 // IFA_F_NODAD: usable at once
		}
		if err := n.AddrAdd(link, parsed); err != nil {
			t.Fatalf("add %s to %s: %v", addr, name, err)
		}
	}
	if err := n.LinkSetUp(link); err != nil {
		t.Fatalf("bring %s up: %v", name, err)
	}
	return link
}

// Route adds a route to dst, in CIDR form, through an interface and, unless it
// is empty, a gateway.
func (n *Net) Route(t testing.TB, dst, dev, gateway string) {
	t.Helper()
	link, err := n.LinkByName(dev)
	if err != nil {
		t.Fatalf("find %s: %v", dev, err)
	}
	_, ipnet, err := net.ParseCIDR(dst)
	if err != nil {
		t.Fatal(err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet}
	if gateway != "" {
		route.Gw = net.ParseIP(gateway)
	} else {
		route.Scope = netlink.SCOPE_LINK
	}
	if err := n.RouteAdd(route); err != nil {
		t.Fatalf("add route %s dev %s via %q: %v", dst, dev, gateway, err)
	}
}
