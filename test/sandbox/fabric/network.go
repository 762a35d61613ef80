package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/instance"
)

const bridgeName = "fabric"

// makeBridge makes the switch that joins the machines and gives the control
// plane its address on it.
func makeBridge(s *instance.Spec) error {
	// Where br_netfilter is loaded it would pass bridged frames through the
	// fabric's (empty) packet filter; where it isn't, the file is missing.
	err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep bridged frames out of the packet filter: %w", err)
	}
	if err := setUp("lo"); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the fabric's bridge: %w", err)
	}
	for _, f := range s.Families() {
		addr := onFabric(f, f.FabricIP())
		if err := netlink.AddrAdd(bridge, addr); err != nil {
			return fmt.Errorf("give the fabric's bridge the address %s: %w", addr, err)
		}
	}
	return setUp(bridgeName)
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set interface %s up: %w", name, err)
	}
	return nil
}

// plug joins machine i, whose first process is pid, to the fabric: a veth pair,
// the machine's address, and routes to the other machines' pods.
func plug(s *instance.Spec, i, pid int) error {
	port := instance.PortName(i)
	if old, err := netlink.LinkByName(port); err == nil { // of a machine that was stopped
		if err := netlink.LinkDel(old); err != nil {
			return fmt.Errorf("remove the old interface %s: %w", port, err)
		}
	}
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find the fabric's bridge: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = port, bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: instance.UplinkName, PeerNamespace: netlink.NsPid(pid),
		// The same after a restart, as a real one's: the others remember it.
		PeerHardwareAddr: net.HardwareAddr{0x02, 0, 0, 0, 0, byte(i)}}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the veth pair of %s: %w", instance.NodeName(i), err)
	}
	if err := setUp(port); err != nil {
		return err
	}
	if err := configureMachine(s, i, pid); err != nil {
		return fmt.Errorf("configure the network of %s: %w", instance.NodeName(i), err)
	}
	for _, f := range s.Families() {
		to := &netlink.Route{Dst: ipNet(f.PodCIDR(i)), Gw: f.NodeIP(i).AsSlice()}
		if err := netlink.RouteReplace(to); err != nil {
			return fmt.Errorf("route %s: %w", to.Dst, err)
		}
	}
	return nil
}

func configureMachine(s *instance.Spec, i, pid int) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()

	for _, name := range []string{"lo", instance.UplinkName} {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find interface %s: %w", name, err)
		}
		if name == instance.UplinkName {
			for _, f := range s.Families() {
				addr := onFabric(f, f.NodeIP(i))
				if err := h.AddrAdd(link, addr); err != nil {
					return fmt.Errorf("add address %s: %w", addr, err)
				}
			}
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("set interface %s up: %w", name, err)
		}
	}
	for _, f := range s.Families() {
		for _, r := range routes(s, f, i) {
			if err := h.RouteAdd(r); err != nil {
				return fmt.Errorf("route %s: %w", r.Dst, err)
			}
		}
	}
	return nil
}

// routes are those of machine i to the other machines' pods, and to everybody else
// through the control plane.
func routes(s *instance.Spec, f instance.Family, i int) []*netlink.Route {
	everybody := netip.PrefixFrom(f.FabricIP(), 0).Masked()
	all := []*netlink.Route{{Dst: ipNet(everybody), Gw: f.FabricIP().AsSlice()}}
	for j := 1; j <= s.Nodes; j++ {
		if j != i {
			all = append(all, &netlink.Route{Dst: ipNet(f.PodCIDR(j)), Gw: f.NodeIP(j).AsSlice()})
		}
	}
	return all
}

// onFabric is an address of f's to give to an interface. Nobody else has it, so
// the kernel is not to look for who does (RFC 4862 §5.4), which takes seconds.
func onFabric(f instance.Family, addr netip.Addr) *netlink.Addr {
	given := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, f.Fabric.Bits()))}
	if addr.Is6() {
		given.Flags = unix.IFA_F_NODAD
	}
	return given
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
