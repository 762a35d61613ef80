package sandbox

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/bitrate"
)

// uplink is the interface that joins a node to the fabric, as the node sees it.
const uplink = "eth0"

// burstBytes is the token bucket: one full segment of segmentation offload
// (64 KiB), which is 2.6 ms of a 200 Mbit/s link.
const burstBytes = 64 << 10

// UplinkStats counts what a node's uplink sent since it was shaped.
type UplinkStats struct {
	Bytes   uint64 // sent, Ethernet headers included
	Packets uint64
	Drops   uint64 // packets that found the queue full
	Backlog uint64 // bytes that wait in the queue now
}

type shape struct {
	rate       bitrate.Rate
	queueBytes int
}

// ShapeUplink gives a node's uplink a capacity and a drop-tail queue of the
// given length: tbf on the node's egress. Above 200 Mbit/s a host with two
// processors, not the queue, becomes the bottleneck.
func (c *Cluster) ShapeUplink(ctx context.Context, node string, rate bitrate.Rate, queueBytes int) error {
	if rate.Bytes() == 0 || queueBytes <= 0 {
		return fmt.Errorf("shape the uplink of %s: rate %s and queue of %d bytes must be positive", node, rate, queueBytes)
	}
	return c.onUplink(ctx, node, func(link netlink.Link) error {
		return netlink.QdiscReplace(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{
				LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
			},
			Rate:   rate.Bytes(),
			Buffer: netlink.Xmittime(rate.Bytes(), burstBytes),
			Limit:  uint32(queueBytes + burstBytes), // the kernel's limit includes the bucket
		})
	})
}

// UnshapeUplink removes the capacity set by ShapeUplink, if any.
func (c *Cluster) UnshapeUplink(ctx context.Context, node string) error {
	return c.onUplink(ctx, node, func(link netlink.Link) error {
		tbf, err := findTbf(link)
		if err != nil || tbf == nil {
			return err
		}
		return netlink.QdiscDel(tbf)
	})
}

// UplinkStats reads the counters of a shaped uplink.
func (c *Cluster) UplinkStats(ctx context.Context, node string) (UplinkStats, error) {
	var stats UplinkStats
	err := c.onUplink(ctx, node, func(link netlink.Link) error {
		tbf, err := findTbf(link)
		if err != nil {
			return err
		}
		if tbf == nil || tbf.Statistics == nil || tbf.Statistics.Basic == nil || tbf.Statistics.Queue == nil {
			return fmt.Errorf("it is not shaped")
		}
		stats = UplinkStats{
			Bytes:   tbf.Statistics.Basic.Bytes,
			Packets: uint64(tbf.Statistics.Basic.Packets),
			Drops:   uint64(tbf.Statistics.Queue.Drops),
			Backlog: uint64(tbf.Statistics.Queue.Backlog),
		}
		return nil
	})
	return stats, err
}

// uplinkShape returns nil where the uplink is not shaped or the node is down.
func (c *Cluster) uplinkShape(ctx context.Context, node string) (*shape, error) {
	if _, err := c.node(ctx, node); err != nil {
		return nil, nil
	}
	var found *shape
	err := c.onUplink(ctx, node, func(link netlink.Link) error {
		tbf, err := findTbf(link)
		if err != nil || tbf == nil {
			return err
		}
		found = &shape{rate: bitrate.Rate(tbf.Rate * 8), queueBytes: int(tbf.Limit) - burstBytes}
		return nil
	})
	return found, err
}

func findTbf(link netlink.Link) (*netlink.Tbf, error) {
	qdiscs, err := netlink.QdiscList(link)
	if err != nil {
		return nil, err
	}
	for _, q := range qdiscs {
		if tbf, ok := q.(*netlink.Tbf); ok && tbf.Parent == netlink.HANDLE_ROOT {
			return tbf, nil
		}
	}
	return nil, nil
}

// onUplink calls fn inside the node's network namespace.
func (c *Cluster) onUplink(ctx context.Context, node string, fn func(netlink.Link) error) error {
	target, err := c.node(ctx, node)
	if err != nil {
		return err
	}
	err = target.Net(func() error {
		link, err := netlink.LinkByName(uplink)
		if err != nil {
			return err
		}
		return fn(link)
	})
	if err != nil {
		return fmt.Errorf("uplink of %s: %w", node, err)
	}
	return nil
}
