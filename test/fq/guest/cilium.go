package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/detnet/detnet/bitrate"
)

// ciliums is Cilium's own limiter: the programs that its agent attaches, compiled
// from its sources. That of a pod marks each packet with the endpoint's number, and
// that of the node's device, or of a tunnel's, gives it a time of departure.
type ciliums struct {
	shared map[string]*ebpf.Map // by name, of which all programs have the one
	links  []link.Link
	loaded []*ebpf.Collection
}

// Maps that programs share here.
const (
	throttle = "cilium_throttle"
	ipcache  = "cilium_ipcache_v2"
)

// What of Cilium's maps is written here, as its agent does.
type (
	edtKey struct { // bpf/lib/edt.h, pkg/maps/bwmap
		Endpoint  uint32
		Direction uint8 // 0 is egress
		_         [3]uint8
	}
	edtInfo struct {
		BytesPerSecond, Last, Horizon uint64
		Priority                      uint32 // one more than the socket buffer's
		_                             uint32
		_                             [3]uint64
	}
	policyKey struct { // bpf/lib/policy.h
		Prefix, Identity uint32
		Egress, Protocol uint8
		Port             uint16
	}
	policyEntry struct {
		_                  [4]uint8
		Precedence, Cookie uint32
	}
	ipcacheKey struct { // bpf/lib/eps.h
		Prefix  uint32
		_       [3]uint8
		Family  uint8 // 1 is IPv4
		Address [16]uint8
	}
	ipcacheEntry struct {
		Identity uint32
		Tunnel   [16]uint8
		_        [2]uint8
		Key      uint8 // of encryption
		Flags    uint8
	}
)

const (
	hasTunnel     = 1 << 1 // of Flags
	wholeAddress  = 32 + 32
	firstIdentity = 10_000
)

// allAllowed is the policy of an endpoint that no policy selects.
var allAllowed = policyKey{Prefix: 40, Egress: 1}

const (
	objects  = "/cilium/"
	mostRows = 4096 // of a map; the agent's own sizes are those of a cluster
)

// attachCiliums puts Cilium's programs on the node's devices. With hostRouting a
// pod's packet goes to the uplink at once, else through the node's IP stack.
func attachCiliums(n *network, f fabric, hostRouting bool) (_ *ciliums, err error) {
	c := &ciliums{shared: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	config := map[string]any{}
	if f.tunnel == wireguard {
		config["wg_ifindex"], config["wg_port"] = uint32(tunnelIndex), uint16(wireguardPort)
	}
	host, err := c.attach(n, "bpf_host", uplink, "cil_to_netdev", ebpf.AttachTCXEgress, config)
	if err != nil {
		return nil, err
	}
	if err := host.Maps["cilium_policy"].Put(allAllowed, policyEntry{}); err != nil {
		return nil, fmt.Errorf("allow the node to send: %w", err)
	}
	switch f.tunnel {
	case wireguard:
		_, err = c.attach(n, "bpf_wireguard", tunnelDevice, "cil_to_wireguard", ebpf.AttachTCXEgress, nil)
	case vxlan:
		_, err = c.attach(n, "bpf_overlay", tunnelDevice, "cil_to_overlay", ebpf.AttachTCXEgress, nil)
	}
	if err != nil {
		return nil, err
	}
	for i := range n.pods {
		pod, err := c.attach(n, "bpf_lxc", fmt.Sprintf("pod%d", i), "cil_from_container", fromPod(f.pods), map[string]any{
			"endpoint_id":                    uint16(endpoint(podAddr(i))),
			"endpoint_ipv4":                  address(podAddr(i)),
			"security_label":                 uint32(firstIdentity + i),
			"enable_bpf_host_routing":        hostRouting,
			"enable_netkit":                  f.pods != veth,
			"supports_fib_lookup_skip_neigh": true,
		})
		if err != nil {
			return nil, err
		}
		if err := pod.Maps["cilium_policy"].Put(allAllowed, policyEntry{}); err != nil {
			return nil, fmt.Errorf("allow pod %d to send: %w", i, err)
		}
	}
	return c, c.tell(n, f.tunnel)
}

// fromPod is where the program of what a pod sends is attached.
func fromPod(by podLink) ebpf.AttachType {
	if by == veth {
		return ebpf.AttachTCXIngress
	}
	return ebpf.AttachNetkitPeer
}

// tell writes whose address is whose and, with a tunnel, what goes through it.
func (c *ciliums) tell(n *network, by tunnel) error {
	if by == noTunnel {
		return nil
	}
	peer := ipcacheEntry{Identity: firstIdentity - 1}
	switch end := address(tunnelPeer); by {
	case wireguard:
		peer.Key = 255
	case vxlan:
		copy(peer.Tunnel[:], end[:])
		peer.Flags = hasTunnel
	}
	rows := map[string]ipcacheEntry{peerAddr: peer}
	for i := range n.pods {
		rows[podAddr(i)] = ipcacheEntry{Identity: firstIdentity + uint32(i)}
	}
	for addr, row := range rows {
		key, ip := ipcacheKey{Prefix: wholeAddress, Family: 1}, address(addr)
		copy(key.Address[:], ip[:])
		if err := c.shared[ipcache].Put(key, row); err != nil {
			return fmt.Errorf("tell Cilium's programs of %s: %w", addr, err)
		}
	}
	return nil
}

// endpoint is the number of the pod with an address.
func endpoint(addr string) uint32 { return uint32(address(addr)[2]) }

func address(addr string) [4]byte { return [4]byte(net.ParseIP(addr).To4()) }

func (c *ciliums) close() {
	for _, l := range c.links {
		l.Close()
	}
	for _, l := range c.loaded {
		l.Close()
	}
}

// set writes a pod's row as the agent's reconciler does (pkg/maps/bwmap).
func (c *ciliums) set(pod string, rate bitrate.Rate, priority uint64) error {
	row := edtInfo{BytesPerSecond: uint64(rate) / 8, Horizon: uint64(horizon)}
	if priority > 0 {
		row.Priority = uint32(priority) + 1
	}
	return c.shared[throttle].Put(edtKey{Endpoint: endpoint(pod)}, row)
}

// attach loads an object for a device of the node's and attaches one program of it.
func (c *ciliums) attach(n *network, object, device, program string, to ebpf.AttachType, config map[string]any) (*ebpf.Collection, error) {
	on, err := n.node.LinkByName(device)
	if err != nil {
		return nil, err
	}
	loaded, err := c.load(object, program, uint32(on.Attrs().Index), config)
	if err != nil {
		return nil, fmt.Errorf("load Cilium's %s for %s: %+w", object, device, err)
	}
	return loaded, n.node.do(func() error {
		var l link.Link
		var err error
		if p := loaded.Programs[program]; to == ebpf.AttachNetkitPeer {
			l, err = link.AttachNetkit(link.NetkitOptions{Interface: on.Attrs().Index, Program: p, Attach: to})
		} else {
			l, err = link.AttachTCX(link.TCXOptions{Interface: on.Attrs().Index, Program: p, Attach: to})
		}
		if err != nil {
			return fmt.Errorf("attach Cilium's %s to %s: %w", program, device, err)
		}
		c.links = append(c.links, l)
		return nil
	})
}

// load loads one program and all that it may call, as Cilium's own loader does
// (pkg/bpf/collection.go), but without pins and with small maps.
func (c *ciliums) load(object, program string, device uint32, config map[string]any) (*ebpf.Collection, error) {
	spec, err := ebpf.LoadCollectionSpec(objects + object + ".o")
	if err != nil {
		return nil, err
	}
	// One area for every CPU, of which there is one.
	if err := spec.Variables["_aux_stride"].Set(uint64(spec.Maps[".data.aux"].ValueSize)); err != nil {
		return nil, err
	}
	if err := spec.Variables["__config_interface_ifindex"].Set(device); err != nil {
		return nil, err
	}
	for name, value := range config {
		if err := spec.Variables["__config_"+name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := spare(spec, program); err != nil {
		return nil, err
	}
	there := map[string]*ebpf.Map{}
	for _, name := range []string{throttle, ipcache} {
		if m := c.shared[name]; m != nil && spec.Maps[name] != nil {
			there[name] = m
		}
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: there})
	if err != nil {
		return nil, err
	}
	c.loaded = append(c.loaded, loaded)
	for _, name := range []string{throttle, ipcache} {
		if m := loaded.Maps[name]; m != nil && c.shared[name] == nil {
			c.shared[name] = m
		}
	}
	return loaded, nil
}

// spare leaves out the programs that are attached elsewhere, and the maps of them
// alone, and puts the rest into the map of calls.
func spare(spec *ebpf.CollectionSpec, program string) error {
	used, calls := map[string]bool{}, spec.Maps["cilium_calls"]
	for name, p := range spec.Programs {
		tail := strings.HasSuffix(p.SectionName, "/tail")
		if !tail && name != program {
			delete(spec.Programs, name)
			continue
		}
		if tail {
			slot, err := tailSlot(p)
			if err != nil {
				return err
			}
			calls.Contents = append(calls.Contents, ebpf.MapKV{Key: slot, Value: name})
		}
		for _, i := range p.Instructions {
			used[i.Reference()] = true
		}
	}
	for name, m := range spec.Maps {
		if !used[name] && !strings.HasPrefix(name, ".") { // those are its variables
			delete(spec.Maps, name)
			continue
		}
		m.Pinning = ebpf.PinNone
		if m.Type != ebpf.ProgramArray {
			m.MaxEntries = min(m.MaxEntries, mostRows)
		}
	}
	return nil
}

// tailSlot is where in the map of calls a program belongs: its own tag says it.
func tailSlot(p *ebpf.ProgramSpec) (slot uint32, err error) {
	f := btf.FuncMetadata(&p.Instructions[0])
	if f == nil {
		return 0, fmt.Errorf("%s has no BTF", p.Name)
	}
	for _, tag := range f.Tags {
		if _, err := fmt.Sscanf(tag, "tail:cilium_calls/%d", &slot); err == nil {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("%s has no slot among the tags %q", p.Name, f.Tags)
}
