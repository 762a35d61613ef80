package enforce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a pod answers the node itself does not wait in its limiter: the kubelet's
// liveness and readiness probes would otherwise stand behind, and be lost with,
// what a flooding pod sends, and the pod would be restarted for it. Cilium, too,
// limits only what leaves the node.
//
// Such an answer is a TCP segment to the address that the node talks to the pod
// from, at an ephemeral port, or one of address resolution. The ports below stay
// limited: among them are node ports, by which a pod could send past its limit
// to other nodes.

// exemption is what passes the redirection, of one protocol. Filters are tried
// in the order of their priorities, and a priority belongs to one protocol.
type exemption struct {
	priority uint16
	protocol uint16 // EtherType
	matches  [][]netlink.TcU32Key
}

// firstPriority is the lowest of the priorities that are ours.
const firstPriority = ourPriority - 3

// exemptions returns what passes for a pod to which the node talks from these
// addresses.
func exemptions(node []netip.Addr) []exemption {
	arp := exemption{ourPriority - 3, unix.ETH_P_ARP, [][]netlink.TcU32Key{{{}}}}
	v4 := exemption{ourPriority - 2, unix.ETH_P_IP, nil}
	v6 := exemption{ourPriority - 1, unix.ETH_P_IPV6, slices.Concat(
		discovery(netlink.TcU32Key{Mask: 0xffff0000, Val: 0xff020000, Off: 24}), // ff02::/16
		discovery(netlink.TcU32Key{Mask: 0xffc00000, Val: 0xfe800000, Off: 24}), // fe80::/10
	)}
	for _, addr := range node {
		if addr.Is4() {
			v4.matches = append(v4.matches, replies4(addr))
		} else {
			v6.matches = append(append(v6.matches, replies6(addr)), discovery(addressKeys(addr, 24)...)...)
		}
	}
	return []exemption{arp, v4, v6}
}

// ephemeral matches the lower half of the word with the ports, where the
// destination is 32768 or above: the kernel's default ip_local_port_range begins
// there, Kubernetes' node ports end below.
const ephemeral = 0x8000

// replies4 matches what is unfragmented and without options (RFC 791 §3.1).
func replies4(node netip.Addr) []netlink.TcU32Key {
	return append(addressKeys(node, 16),
		netlink.TcU32Key{Mask: 0x0f000000, Val: 0x05000000, Off: 0}, // header length
		netlink.TcU32Key{Mask: 0x00003fff, Val: 0, Off: 4},          // no fragment
		netlink.TcU32Key{Mask: 0x00ff0000, Val: unix.IPPROTO_TCP << 16, Off: 8},
		netlink.TcU32Key{Mask: ephemeral, Val: ephemeral, Off: 20})
}

// replies6 matches what has no extension headers (RFC 8200 §3).
func replies6(node netip.Addr) []netlink.TcU32Key {
	return append(append(addressKeys(node, 24), nextHeader(unix.IPPROTO_TCP)...),
		netlink.TcU32Key{Mask: ephemeral, Val: ephemeral, Off: 40})
}

// discovery matches neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4) to
// addresses of the link, or of the node: to others they would be routed like all else, and a pod
// could send past its limit what it calls so.
func discovery(to ...netlink.TcU32Key) [][]netlink.TcU32Key {
	of := func(kind uint32) []netlink.TcU32Key {
		return append(append(nextHeader(unix.IPPROTO_ICMPV6), to...), netlink.TcU32Key{Mask: 0xff000000, Val: kind << 24, Off: 40})
	}
	return [][]netlink.TcU32Key{of(135), of(136)}
}

func nextHeader(protocol uint32) []netlink.TcU32Key {
	return []netlink.TcU32Key{{Mask: 0x0000ff00, Val: protocol << 8, Off: 4}}
}

func addressKeys(addr netip.Addr, offset int32) []netlink.TcU32Key {
	var keys []netlink.TcU32Key
	octets := addr.AsSlice()
	for i := 0; i < len(octets); i += 4 {
		keys = append(keys, netlink.TcU32Key{
			Mask: 0xffffffff, Val: binary.BigEndian.Uint32(octets[i:]), Off: offset + int32(i)})
	}
	return keys
}

// passReplies lets answers of the pod to the node pass the redirection at the
// interface behind which the pod with these addresses is.
func (k kernel) passReplies(index int, pod []netip.Addr) error {
	var node []netip.Addr
	for _, addr := range pod {
		from, err := k.addressTowards(addr)
		if err != nil {
			return err
		}
		if from.IsValid() {
			node = append(node, from)
		}
	}
	filters, err := k.FilterList(linkOf(index), netlink.MakeHandle(0xffff, 0))
	if err != nil {
		return fmt.Errorf("list filters: %w", err)
	}
	for _, e := range exemptions(node) {
		var standing [][]netlink.TcU32Key
		for _, f := range filters {
			if u, ok := f.(*netlink.U32); ok && u.Priority == e.priority && u.Sel != nil {
				standing = append(standing, u.Sel.Keys)
			}
		}
		if slices.EqualFunc(standing, e.matches, slices.Equal) {
			continue
		}
		if err := k.replace(index, e, len(standing) > 0); err != nil {
			return fmt.Errorf("let replies to the node pass: %w", err)
		}
	}
	return nil
}

// replace puts the filters of e in the place of those that stand there for an
// address that the node no longer has. They have no action and are terminal:
// what matches is not redirected.
func (k kernel) replace(index int, e exemption, stale bool) error {
	attrs := netlink.FilterAttrs{
		LinkIndex: index, Parent: netlink.MakeHandle(0xffff, 0), Priority: e.priority, Protocol: e.protocol}
	if stale {
		if err := k.FilterDel(&netlink.U32{FilterAttrs: attrs}); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	for _, keys := range e.matches {
		filter := &netlink.U32{FilterAttrs: attrs, ClassId: netlink.MakeHandle(0, 1),
			Sel: &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Keys: keys}}
		if err := k.FilterAdd(filter); err != nil {
			return err
		}
	}
	return nil
}

// addressTowards is the address that the node's own connections to the pod come from;
// there are none where the node has no route to it.
func (k kernel) addressTowards(pod netip.Addr) (netip.Addr, error) {
	routes, err := k.RouteGet(net.IP(pod.AsSlice()))
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return netip.Addr{}, nil
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look up the route to %v: %w", pod, err)
	}
	if len(routes) == 0 {
		return netip.Addr{}, nil
	}
	node, _ := netip.AddrFromSlice(routes[0].Src)
	return node.Unmap(), nil
}
