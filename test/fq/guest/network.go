package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network is pods on a node, a switch and a peer, each in a namespace of its own:
//
//	pod 10.0.i.2 ─ node ─(uplink)─ switch ─(port)─ peer 10.9.0.2
//
// The node's uplink has Cilium's limiter and fq; the switch's port may be the
// bottleneck.
type network struct {
	pods               []*host
	node, middle, peer *host
	takesIn            link.Link // what the peer has from a tunnel; nil: none
}

const (
	uplink   = "uplink"
	port     = "port"
	peerAddr = "10.9.0.2"
)

func podAddr(i int) string { return fmt.Sprintf("10.0.%d.2", i+1) }

// host is a namespace, with a netlink handle inside it.
type host struct {
	*netlink.Handle
	ns netns.NsHandle
}

func newHost() (*host, error) {
	h := &host{}
	var err error
	onOwnThread(func() {
		if h.ns, err = netns.New(); err == nil {
			h.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("make a namespace: %w", err)
	}
	return h, h.up("lo", "")
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

// do runs f inside: sockets that it opens stay there.
func (h *host) do(f func() error) (err error) {
	onOwnThread(func() {
		if err = netns.Set(h.ns); err == nil {
			err = f()
		}
	})
	return err
}

func (h *host) close() {
	h.Close()
	h.ns.Close()
}

func (h *host) up(name, addr string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", addr, name, err)
		}
	}
	return h.LinkSetUp(link)
}

// route sends everything outside through a gateway.
func (h *host) route(dst, gateway string) error {
	_, to, err := net.ParseCIDR(dst)
	if err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(gateway)})
}

// join links two hosts. Packets are no larger than a frame: segmentation is
// left out, so that a packet is what the limiter and the queue count.
func join(a *host, nameA, addrA string, b *host, nameB, addrB string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.GSOMaxSize, attrs.GSOMaxSegs = nameA, 1514, 1
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns)}
	if err := a.LinkAdd(veth); err != nil {
		return fmt.Errorf("join %s and %s: %w", nameA, nameB, err)
	}
	if err := a.up(nameA, addrA); err != nil {
		return err
	}
	if err := b.up(nameB, addrB); err != nil {
		return err
	}
	return b.do(func() error {
		link, err := netlink.LinkByName(nameB)
		if err != nil {
			return err
		}
		return netlink.LinkSetGSOMaxSegs(link, 1)
	})
}

func newNetwork(pods int, made fabric) (n *network, err error) {
	n = &network{}
	for _, h := range []**host{&n.node, &n.middle, &n.peer} {
		if *h, err = newHost(); err != nil {
			return nil, err
		}
	}
	for i := range pods {
		pod, err := newHost()
		if err != nil {
			return nil, err
		}
		n.pods = append(n.pods, pod)
		gateway := fmt.Sprintf("10.0.%d.1", i+1)
		if err := n.joinPod(i, gateway, made.pods); err != nil {
			return nil, err
		}
		if err := pod.route("0.0.0.0/0", gateway); err != nil {
			return nil, err
		}
	}
	if err := join(n.node, uplink, "10.8.0.1/24", n.middle, "node", "10.8.0.2/24"); err != nil {
		return nil, err
	}
	if err := join(n.middle, port, "10.9.0.1/24", n.peer, "eth0", peerAddr+"/24"); err != nil {
		return nil, err
	}
	for _, r := range []struct {
		h        *host
		dst, via string
	}{{n.node, "0.0.0.0/0", "10.8.0.2"}, {n.middle, "10.0.0.0/16", "10.8.0.1"}, {n.peer, "0.0.0.0/0", "10.9.0.1"}} {
		if err := r.h.route(r.dst, r.via); err != nil {
			return nil, err
		}
	}
	for _, h := range []*host{n.node, n.middle} {
		// /proc/sys/net shows the namespace of the thread that looks.
		if err := h.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
			return nil, fmt.Errorf("forward packets: %w", err)
		}
	}
	return n, n.bore(made.tunnel)
}

func (n *network) joinPod(i int, gateway string, by podLink) error {
	pod, addr, name := n.pods[i], podAddr(i)+"/24", fmt.Sprintf("pod%d", i)
	switch by {
	case netkit:
		return joinNetkit(n.node, name, gateway+"/24", pod, addr, netlink.NETKIT_MODE_L3)
	case netkitL2:
		return joinNetkit(n.node, name, gateway+"/24", pod, addr, netlink.NETKIT_MODE_L2)
	default:
		return join(pod, "eth0", addr, n.node, name, gateway+"/24")
	}
}

func (n *network) close() {
	if n.takesIn != nil {
		n.takesIn.Close()
	}
	for _, h := range append(n.pods, n.node, n.middle, n.peer) {
		h.close()
	}
}
