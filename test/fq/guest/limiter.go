package main

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// limiter gives each pod's packets their times of departure.
type limiter interface {
	// set writes a pod's limit, 0 for none, and the priority of what it sends, which
	// is that of its socket buffers.
	set(pod string, rate bitrate.Rate, priority uint64) error
	close()
}

// kind is a limiter that can be put on the node.
type kind struct {
	attach func(n *network, f fabric) (limiter, error)
	fabric fabric
	is     plan.Limiter // what the law is told
}

// limitedBy is the one that the kernel's command line asks for: ours, or Cilium's own.
var limitedBy kind

var limiters = map[string]kind{
	"":                              {attach: func(n *network, _ fabric) (limiter, error) { return attachOurs(n) }, is: plan.EDT},
	"cilium":                        {attach: ciliumsLegacy, is: plan.EDT},
	"cilium-host-routing":           {attach: ciliumsPastStack, is: plan.EDTHostRouting},
	"cilium-netkit":                 {attach: ciliumsPastStack, fabric: fabric{pods: netkit}, is: plan.EDTHostRouting},
	"cilium-netkit-l2":              {attach: ciliumsPastStack, fabric: fabric{pods: netkitL2}, is: plan.EDTHostRouting},
	"cilium-wireguard":              {attach: ciliumsLegacy, fabric: fabric{tunnel: wireguard}, is: plan.EDT},
	"cilium-wireguard-host-routing": {attach: ciliumsPastStack, fabric: fabric{tunnel: wireguard}, is: plan.EDTHostRouting},
	"cilium-wireguard-netkit":       {attach: ciliumsPastStack, fabric: fabric{pods: netkit, tunnel: wireguard}, is: plan.EDTHostRouting},
	"cilium-vxlan":                  {attach: ciliumsLegacy, fabric: fabric{tunnel: vxlan}, is: plan.EDT},
	"cilium-vxlan-host-routing":     {attach: ciliumsPastStack, fabric: fabric{tunnel: vxlan}, is: plan.EDTHostRouting},
}

func ciliumsLegacy(n *network, f fabric) (limiter, error)    { return attachCiliums(n, f, false) }
func ciliumsPastStack(n *network, f fabric) (limiter, error) { return attachCiliums(n, f, true) }

// ours is the egress half of Cilium's bandwidth manager as its sources have
// it (bpf/lib/edt.h, pkg/maps/bwmap/table.go of 1.19 and 1.20): a packet gets a
// time of departure from its pod's rate, and fq keeps it until then. Here a pod
// is known by its address instead of its endpoint's number.
type ours struct {
	limits *ebpf.Map
	link   link.Link
}

// limit is a pod's row in the map.
type limit struct {
	BytesPerSecond, Last, Horizon, Priority uint64
}

const (
	horizon = 2 * time.Second // beyond it packets are dropped (pkg/maps/bwmap/bwmap.go)
	// What bandwidth.cilium.io/priority becomes in skb->priority, and so which
	// band of fq (pkg/endpoint/events.go).
	priorityGuaranteed = 6
	priorityBestEffort = 5
)

// Offsets into struct __sk_buff (linux/bpf.h), and into an IPv4 frame.
const (
	skbPriority, skbTstamp, skbWireLen = 32, 152, 160
	ipSource                           = 14 + 12
)

// attachOurs puts our limiter on the node's uplink.
func attachOurs(n *network) (*ours, error) {
	limits, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 32, MaxEntries: 64})
	if err != nil {
		return nil, fmt.Errorf("make the map of limits: %w", err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "edt", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: edt(limits.FD())})
	if err != nil {
		return nil, fmt.Errorf("load the limiter: %+w", err)
	}
	on, err := n.node.LinkByName(uplink)
	if err != nil {
		return nil, err
	}
	o := &ours{limits: limits}
	return o, n.node.do(func() error {
		o.link, err = link.AttachTCX(link.TCXOptions{Interface: on.Attrs().Index, Program: program, Attach: ebpf.AttachTCXEgress})
		if err != nil {
			return fmt.Errorf("attach the limiter: %w", err)
		}
		return nil
	})
}

func (l *ours) close() {
	l.link.Close()
	l.limits.Close()
}

// set writes a pod's limit, 0 for none, and priority. As Cilium's agent does, it
// forgets when the last packet left: what waits in fq goes on at the old rate.
func (l *ours) set(pod string, rate bitrate.Rate, priority uint64) error {
	row := limit{BytesPerSecond: uint64(rate) / 8, Horizon: uint64(horizon), Priority: priority}
	return l.limits.Put(address(pod), row)
}

// edt computes, for a packet of a pod that has a row:
//
//	next = last + wire_len/rate
//	next ≤ its time:          last = its time, leave at once
//	next ≥ now + horizon:     drop
//	else:                     last = next, leave at next, with the priority
//
// A pod without a rate gets its priority alone.
func edt(limits int) asm.Instructions {
	const (
		key = -4 // on the stack
		row = asm.R7
		ctx = asm.R6
		now = asm.R8
		at  = asm.R9
	)
	field := func(i int16) int16 { return 8 * i }
	return asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.Mov.Imm(asm.R2, ipSource), // skb_load_bytes(skb, offset, &key, 4)
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, key),
		asm.Mov.Imm(asm.R4, 4),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),
		asm.LoadMapPtr(asm.R1, limits),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(row, asm.R0),
		asm.LoadMem(asm.R1, row, field(0), asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "mark"),

		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(now, asm.R0),
		asm.LoadMem(at, ctx, skbTstamp, asm.DWord),
		asm.JGE.Reg(at, now, "timed"),
		asm.Mov.Reg(at, now),
		asm.LoadMem(asm.R2, ctx, skbWireLen, asm.Word).WithSymbol("timed"),
		asm.LoadImm(asm.R3, int64(time.Second), asm.DWord),
		asm.Mul.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R1, row, field(0), asm.DWord),
		asm.Div.Reg(asm.R2, asm.R1),
		asm.LoadMem(asm.R3, row, field(1), asm.DWord),
		asm.Add.Reg(asm.R2, asm.R3), // next
		asm.JGT.Reg(asm.R2, at, "delay"),
		asm.StoreMem(row, field(1), at, asm.DWord),
		asm.Ja.Label("pass"),

		asm.Mov.Reg(asm.R3, asm.R2).WithSymbol("delay"),
		asm.Sub.Reg(asm.R3, now),
		asm.LoadMem(asm.R4, row, field(2), asm.DWord),
		asm.JGE.Reg(asm.R3, asm.R4, "drop"),
		asm.StoreMem(row, field(1), asm.R2, asm.DWord),
		asm.StoreMem(ctx, skbTstamp, asm.R2, asm.DWord),

		asm.LoadMem(asm.R1, row, field(3), asm.DWord).WithSymbol("mark"),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.StoreMem(ctx, skbPriority, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("pass"), // TC_ACT_OK
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("drop"), // TC_ACT_SHOT
		asm.Return(),
	}
}
