// Package locate finds the host's end of a pod's interface from the pod's
// address: the device that the route to it names (routed CNIs, Cilium's lxc*
// with endpoint routes), or, where that is a bridge, the port behind which the
// bridge has learnt the pod's hardware address. Where Cilium keeps no route to
// each pod, the kernel's tables don't tell, and [Endpoints] does.
package locate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNotFound says that the node does not know (yet) where the address is.
var ErrNotFound = errors.New("no host-side interface known")

// ErrCilium is the [ErrNotFound] of Cilium's default, without endpoint routes:
// the node's whole range is routed to ciliumHost, and programs on that
// interface, not tables, hand packets to the pods' own.
var ErrCilium = fmt.Errorf("%w: Cilium keeps no route to each pod", ErrNotFound)

// ciliumHost is the node's own end in Cilium's network, by its fixed name.
const ciliumHost = "cilium_host"

// Pod returns the index of the host-side interface of the pod with these addresses:
// that of the first which the node knows. h is a handle in the host's network
// namespace.
func Pod(h *netlink.Handle, addresses []netip.Addr) (int, error) {
	err := ErrNotFound // a pod without an address
	for _, addr := range addresses {
		index, miss := Interface(h, addr)
		if miss == nil {
			return index, nil
		}
		err = errors.Join(err, miss)
	}
	return 0, err
}

// Interface returns the index of the host-side interface of the pod with this
// address. h is a handle in the host's network namespace.
func Interface(h *netlink.Handle, pod netip.Addr) (int, error) {
	routes, err := h.RouteGet(net.IP(pod.AsSlice()))
	if err != nil {
		return 0, fmt.Errorf("look up the route to %v: %w", pod, err)
	}
	if len(routes) == 0 {
		return 0, fmt.Errorf("route to %v: %w", pod, ErrNotFound)
	}
	route := routes[0]
	link, err := h.LinkByIndex(route.LinkIndex)
	if err != nil {
		return 0, fmt.Errorf("look up interface %d of the route to %v: %w", route.LinkIndex, pod, err)
	}
	switch {
	case route.Type == unix.RTN_LOCAL:
		return 0, fmt.Errorf("%v is the node's own address: %w", pod, ErrNotFound)
	case link.Attrs().Name == ciliumHost:
		return 0, fmt.Errorf("route to %v: %w", pod, ErrCilium)
	case route.Gw != nil:
		return 0, fmt.Errorf("route to %v leads elsewhere: %w", pod, ErrNotFound)
	}
	switch link.Type() {
	case "bridge":
		return bridgePort(h, link, pod)
	case "veth", "netkit", "ipvlan", "macvlan":
		return route.LinkIndex, nil
	}
	return 0, fmt.Errorf("route to %v names %s, a %s: %w", pod, link.Attrs().Name, link.Type(), ErrNotFound)
}

// bridgePort asks the neighbour table for the pod's hardware address and the
// bridge for the port that it is behind.
func bridgePort(h *netlink.Handle, bridge netlink.Link, pod netip.Addr) (int, error) {
	family := unix.AF_INET
	if pod.Is6() {
		family = unix.AF_INET6
	}
	index, name := bridge.Attrs().Index, bridge.Attrs().Name
	neighbours, err := h.NeighList(index, family)
	if err != nil {
		return 0, fmt.Errorf("list the neighbours on %s: %w", name, err)
	}
	var mac net.HardwareAddr
	for _, n := range neighbours {
		if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap() == pod && len(n.HardwareAddr) > 0 {
			mac = n.HardwareAddr
		}
	}
	if mac == nil {
		return 0, fmt.Errorf("%v is not among the neighbours on %s: %w", pod, name, ErrNotFound)
	}
	entries, err := h.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return 0, fmt.Errorf("list the forwarding table of %s: %w", name, err)
	}
	for _, e := range entries {
		if e.MasterIndex == index && e.LinkIndex != index && e.HardwareAddr.String() == mac.String() {
			return e.LinkIndex, nil
		}
	}
	return 0, fmt.Errorf("%v of %v is not in the forwarding table of %s: %w", mac, pod, name, ErrNotFound)
}
