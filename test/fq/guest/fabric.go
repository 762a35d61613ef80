package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// fabric is what joins pods to their node, and what their packets are in as they leave it.
type fabric struct {
	pods   podLink
	tunnel tunnel
}

type podLink int

const (
	veth podLink = iota
	netkit
	netkitL2
)

type tunnel int

const (
	noTunnel tunnel = iota
	wireguard
	vxlan
)

// What a tunnel is made of: a device on the node and one on the peer, whose pod has the
// peer's other address.
const (
	tunnelDevice  = "tunnel"
	tunnelIndex   = 100 // on the node; Cilium's programs are compiled with it (ENCAP_IFINDEX)
	tunnelPeer    = "10.9.0.3"
	tunnelMTU     = 1500
	outerMTU      = 1600 // so that packets of pods are as long as without a tunnel
	wireguardPort = 51871
	wireguardMark = 0xe00 // of what is encrypted (MARK_MAGIC_ENCRYPT of bpf/lib/common.h)
	vxlanPort     = 8472
)

// joinNetkit links a pod to its node by the device that Cilium makes (pkg/datapath/connector),
// which lets nothing out of the pod without a program.
func joinNetkit(node *host, name, gateway string, pod *host, addr string, mode netlink.NetkitMode) error {
	inside := netlink.NewLinkAttrs()
	inside.Name, inside.GSOMaxSize, inside.GSOMaxSegs, inside.Namespace = "eth0", 1514, 1, netlink.NsFd(pod.ns)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.GSOMaxSize, attrs.GSOMaxSegs = name, 1514, 1
	pair := &netlink.Netkit{
		LinkAttrs: attrs, Mode: mode,
		Policy: netlink.NETKIT_POLICY_FORWARD, PeerPolicy: netlink.NETKIT_POLICY_BLACKHOLE,
		Scrub: netlink.NETKIT_SCRUB_NONE, PeerScrub: netlink.NETKIT_SCRUB_DEFAULT,
	}
	pair.SetPeerAttrs(&inside)
	if err := node.LinkAdd(pair); err != nil {
		return fmt.Errorf("join %s by netkit: %w", name, err)
	}
	return errors.Join(node.up(name, gateway), pod.up("eth0", addr))
}

// bore makes the tunnel from the node to the peer.
func (n *network) bore(kind tunnel) error {
	if kind == noTunnel {
		return nil
	}
	for _, on := range []struct {
		h    *host
		name string
	}{{n.node, uplink}, {n.middle, "node"}, {n.middle, port}, {n.peer, "eth0"}} {
		device, err := on.h.LinkByName(on.name)
		if err != nil {
			return err
		}
		if err := on.h.LinkSetMTU(device, outerMTU); err != nil {
			return fmt.Errorf("let packets of the tunnel through %s: %w", on.name, err)
		}
	}
	if err := n.peer.up("eth0", tunnelPeer+"/24"); err != nil {
		return err
	}
	if kind == wireguard {
		return n.boreWireGuard()
	}
	return n.boreVXLAN()
}

// boreWireGuard sets both ends up as Cilium's agent does (pkg/wireguard/agent): what comes
// back is encrypted as well.
func (n *network) boreWireGuard() error {
	var keys [2]wgtypes.Key
	for i := range keys {
		var err error
		if keys[i], err = wgtypes.GeneratePrivateKey(); err != nil {
			return err
		}
	}
	mark, listen := wireguardMark, wireguardPort
	for i, end := range []struct {
		h            *host
		to, carrying string
		mark         *int
	}{{n.node, tunnelPeer, peerAddr + "/32", &mark}, {n.peer, "10.8.0.1", "10.0.0.0/16", nil}} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.Index = tunnelDevice, tunnelMTU, tunnelIndex
		if err := end.h.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("add WireGuard's device: %w", err)
		}
		_, carrying, err := net.ParseCIDR(end.carrying)
		if err != nil {
			return err
		}
		err = end.h.do(func() error {
			client, err := wgctrl.New()
			if err != nil {
				return err
			}
			defer client.Close()
			return client.ConfigureDevice(tunnelDevice, wgtypes.Config{
				PrivateKey: &keys[i], ListenPort: &listen, FirewallMark: end.mark,
				Peers: []wgtypes.PeerConfig{{
					PublicKey: keys[1-i].PublicKey(), AllowedIPs: []net.IPNet{*carrying},
					Endpoint: &net.UDPAddr{IP: net.ParseIP(end.to), Port: wireguardPort},
				}},
			})
		})
		if err != nil {
			return fmt.Errorf("configure WireGuard's device: %w", err)
		}
		if err := end.h.up(tunnelDevice, ""); err != nil {
			return err
		}
	}
	_, pods, err := net.ParseCIDR("10.0.0.0/16")
	if err != nil {
		return err
	}
	return n.peer.RouteAdd(&netlink.Route{LinkIndex: tunnelIndex, Dst: pods, Src: net.ParseIP(peerAddr), Scope: netlink.SCOPE_LINK})
}

// boreVXLAN sets both ends up as Cilium's agent does (pkg/datapath/loader). What comes back
// is in no tunnel: nothing limits it.
func (n *network) boreVXLAN() error {
	for _, h := range []*host{n.node, n.peer} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.Index = tunnelDevice, tunnelMTU, tunnelIndex
		if err := h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, FlowBased: true, Port: vxlanPort}); err != nil {
			return fmt.Errorf("add VXLAN's device: %w", err)
		}
		if err := h.up(tunnelDevice, ""); err != nil {
			return err
		}
	}
	return n.peer.do(func() error {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: forHost})
		if err != nil {
			return fmt.Errorf("load what takes in packets of the tunnel: %w", err)
		}
		n.takesIn, err = link.AttachTCX(link.TCXOptions{Interface: tunnelIndex, Program: program, Attach: ebpf.AttachTCXIngress})
		return err
	})
}

// forHost takes a packet to be for this host, whatever Ethernet address it has: that of the
// pod's own gateway, which Cilium on the peer would replace.
var forHost = asm.Instructions{
	asm.Mov.Imm(asm.R2, 0), // PACKET_HOST
	asm.FnSkbChangeType.Call(),
	asm.Mov.Imm(asm.R0, 0), // TC_ACT_OK
	asm.Return(),
}
