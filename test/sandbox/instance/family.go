package instance

import (
	"fmt"
	"net/netip"
	"strings"
)

// Family is the addresses of one family of IP inside the fabric. They live in
// private network namespaces, so that instances may share them.
type Family struct {
	Fabric  netip.Prefix // of the nodes and the control plane
	Cluster netip.Prefix // of all pods
	Service netip.Prefix
	podBits int // of a node's range of pods
}

// The families that there are.
var (
	IPv4 = Family{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/16"), 24}
	IPv6 = Family{netip.MustParsePrefix("fd77::/64"), netip.MustParsePrefix("fd77:244::/48"), netip.MustParsePrefix("fd77:96::/112"), 64}
)

// Families are the instance's, the primary one first.
func (s *Spec) Families() []Family {
	if s.IPv6First {
		return []Family{IPv6, IPv4}
	}
	return []Family{IPv4}
}

// FabricIP is the control plane's address of the primary family.
func (s *Spec) FabricIP() netip.Addr { return s.Families()[0].FabricIP() }

// Addresses lists what each takes from every family, the primary one's first, as
// Kubernetes' programs want it.
func Addresses[T fmt.Stringer](s *Spec, each func(Family) T) string {
	var all []string
	for _, f := range s.Families() {
		all = append(all, each(f).String())
	}
	return strings.Join(all, ",")
}

// FabricIP is the control plane's address on the fabric.
func (f Family) FabricIP() netip.Addr { return f.Fabric.Addr().Next() }

// ServiceIP is the address of the API server's Service.
func (f Family) ServiceIP() netip.Addr { return f.Service.Addr().Next() }

// NodeIP is the address of node i on the fabric.
func (f Family) NodeIP(i int) netip.Addr {
	octets := f.Fabric.Addr().AsSlice()
	octets[len(octets)-1] = byte(10 + i)
	addr, _ := netip.AddrFromSlice(octets) // as many as they were
	return addr
}

// PodCIDR is the range of the pods on node i.
func (f Family) PodCIDR(i int) netip.Prefix {
	octets := f.Cluster.Addr().AsSlice()
	octets[f.podBits/8-1] = byte(i)
	addr, _ := netip.AddrFromSlice(octets)
	return netip.PrefixFrom(addr, f.podBits)
}
