package sandbox

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// burstBytes is the token bucket: one full segment of segmentation offload
// (64 KiB), which is 2.6 ms of a 200 Mbit/s link.
const burstBytes = 64 << 10

// setShape, removeShape and readShape work in the fabric's network namespace. What
// the port of node i receives, which is what the node sends, is redirected to the
// queue's interface, waits there, and goes on as if the port had just received it.
func setShape(i int, s shape) error {
	port, err := netlink.LinkByName(instance.PortName(i))
	if err != nil {
		return err
	}
	root, err := ingressOf(port)
	if err != nil {
		return err
	}
	queue, err := queueOf(i, root == nil)
	if err != nil {
		return err
	}
	if err := netlink.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: queue.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
		},
		Rate:   s.rate.Bytes(),
		Buffer: netlink.Xmittime(s.rate.Bytes(), burstBytes),
		Limit:  uint32(s.queueBytes),
	}); err != nil {
		return fmt.Errorf("set the queue: %w", err)
	}
	if root != nil {
		return nil
	}
	return redirect(port, queue)
}

// queueOf returns the interface of node i's queue, or a new one in its place, which
// has counted nothing.
func queueOf(i int, anew bool) (netlink.Link, error) {
	name := instance.QueueName(i)
	queue, err := netlink.LinkByName(name)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
	case err != nil || !anew:
		return queue, err
	default:
		if err := netlink.LinkDel(queue); err != nil {
			return nil, fmt.Errorf("remove the old %s: %w", name, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if queue, err = netlink.LinkByName(name); err != nil {
		return nil, err
	}
	return queue, netlink.LinkSetUp(queue)
}

// redirect passes all that port receives to queue.
func redirect(port, queue netlink.Link) error {
	root := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: port.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := netlink.QdiscAdd(root); err != nil {
		return fmt.Errorf("add the ingress of %s: %w", port.Attrs().Name, err)
	}
	err := netlink.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: port.Attrs().Index, Parent: root.Attrs().Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{netlink.NewMirredAction(queue.Attrs().Index)},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("redirect %s to %s: %w", port.Attrs().Name, queue.Attrs().Name, err), netlink.QdiscDel(root))
	}
	return nil
}

// ingressOf returns nil where what the port receives is not redirected.
func ingressOf(port netlink.Link) (netlink.Qdisc, error) {
	qdiscs, err := netlink.QdiscList(port)
	if err != nil {
		return nil, err
	}
	for _, q := range qdiscs {
		if q.Type() == "ingress" {
			return q, nil
		}
	}
	return nil, nil
}

// removeShape leaves the queue's interface: what waits in it still goes on its way.
func removeShape(i int) error {
	port, err := netlink.LinkByName(instance.PortName(i))
	if err != nil {
		return err
	}
	root, err := ingressOf(port)
	if err != nil || root == nil {
		return err
	}
	return netlink.QdiscDel(root)
}

// readShape returns nil where the uplink is not shaped.
func readShape(i int) (*UplinkStats, error) {
	port, err := netlink.LinkByName(instance.PortName(i))
	if err != nil {
		return nil, err
	}
	if root, err := ingressOf(port); err != nil || root == nil {
		return nil, err
	}
	queue, err := netlink.LinkByName(instance.QueueName(i))
	if err != nil {
		return nil, err
	}
	qdiscs, err := netlink.QdiscList(queue)
	if err != nil {
		return nil, err
	}
	for _, q := range qdiscs {
		if tbf, ok := q.(*netlink.Tbf); ok {
			return statsOf(tbf), nil
		}
	}
	return nil, fmt.Errorf("%s has no token bucket", instance.QueueName(i))
}

func statsOf(tbf *netlink.Tbf) *UplinkStats {
	stats := &UplinkStats{Rate: bitrate.Rate(tbf.Rate * 8), Queue: int(tbf.Limit)}
	if counted := tbf.Statistics; counted != nil && counted.Basic != nil && counted.Queue != nil {
		stats.Bytes, stats.Packets = counted.Basic.Bytes, uint64(counted.Basic.Packets)
		stats.Drops, stats.Backlog = uint64(counted.Queue.Drops), uint64(counted.Queue.Backlog)
	}
	return stats
}
