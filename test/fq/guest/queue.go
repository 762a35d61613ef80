package main

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
)

// fq is the queue that Cilium puts on a device: horizon 2 s, and more buckets
// than the kernel's own default (pkg/datapath/linux/bandwidth).
func fq(index int, parent uint32, flowLimit uint32) *netlink.Fq {
	return &netlink.Fq{
		QdiscAttrs:      netlink.QdiscAttrs{LinkIndex: index, Parent: parent, Handle: netlink.MakeHandle(0xf, 0)},
		Horizon:         uint32(horizon / time.Microsecond),
		Buckets:         15,
		FlowPacketLimit: flowLimit,
		Pacing:          1,
	}
}

// paceUplink makes fq the uplink's queue. A flow limit of 0 is the kernel's, 100
// packets.
func (n *network) paceUplink(flowLimit uint32) error {
	link, err := n.node.LinkByName(uplink)
	if err != nil {
		return err
	}
	return n.node.QdiscReplace(fq(link.Attrs().Index, netlink.HANDLE_ROOT, flowLimit))
}

// waiting is how many kilobytes wait in the uplink's queue, which anybody on the node may read.
func (n *network) waiting() (float64, error) {
	link, err := n.node.LinkByName(uplink)
	if err != nil {
		return 0, err
	}
	queues, err := n.node.QdiscList(link)
	if err != nil {
		return 0, err
	}
	for _, q := range queues {
		if a := q.Attrs(); a.Parent == netlink.HANDLE_ROOT && a.Statistics != nil && a.Statistics.Queue != nil {
			return float64(a.Statistics.Queue.Backlog) / 1e3, nil
		}
	}
	return 0, fmt.Errorf("nothing tells how much waits at %s", uplink)
}

// backlog is what waited at the uplink at a time, in kilobytes.
type backlog struct {
	at time.Duration
	kb float64
}

// follow reads each tenth of a second what waits at the uplink, until it is told to end.
func (n *network) follow() (end func() []backlog) {
	var waited []backlog
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(window)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			if kb, err := n.waiting(); err == nil {
				waited = append(waited, backlog{now(), kb})
			}
		}
	}()
	return func() []backlog { close(stop); <-ended; return waited }
}

// narrowUplink gives the uplink itself a rate, with fq as its queue: the only
// place where bands matter.
func (n *network) narrowUplink(rate bitrate.Rate) error {
	link, err := n.node.LinkByName(uplink)
	if err != nil {
		return err
	}
	root := bucket(link.Attrs().Index, rate, 4<<20)
	if err := n.node.QdiscReplace(root); err != nil {
		return fmt.Errorf("narrow the uplink: %w", err)
	}
	queue := fq(link.Attrs().Index, root.Handle, 0)
	if err := n.node.QdiscReplace(queue); err != nil {
		return err
	}
	return n.node.do(func() error { return apart(queue) })
}

// apart has fq tell forwarded flows apart for sure. As it is they share 1,024 numbers,
// and a probe beside 30 others has that of one of them in 3 of 100 runs.
func apart(queue *netlink.Fq) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_ACK)
	request.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(queue.LinkIndex), Handle: queue.Handle, Parent: queue.Parent})
	request.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(queue.Type())))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_FQ_ORPHAN_MASK, nl.Uint32Attr(1<<20-1))
	request.AddData(options)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set the orphan_mask of fq: %w", err)
	}
	return nil
}

// narrowPort makes the switch the bottleneck, with a drop-tail queue of so many
// octets.
func (n *network) narrowPort(rate bitrate.Rate, queue uint32) error {
	link, err := n.middle.LinkByName(port)
	if err != nil {
		return err
	}
	return n.middle.QdiscReplace(bucket(link.Attrs().Index, rate, queue))
}

func bucket(index int, rate bitrate.Rate, queue uint32) *netlink.Tbf {
	const burst = 3 * 1514
	octets := uint64(rate) / 8
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(2, 0)},
		Rate:       octets, Limit: queue,
		// In ticks of the kernel's packet scheduler, 64 ns each.
		Buffer: uint32(float64(burst) / float64(octets) * float64(time.Second) / 64),
	}
}
