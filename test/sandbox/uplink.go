package sandbox

import (
	"context"
	"fmt"
	"math"

	"github.com/detnet/detnet/bitrate"
)

// UplinkStats is the shape of a node's uplink, and counts what it sent since it was
// shaped.
type UplinkStats struct {
	Rate    bitrate.Rate
	Queue   int    // bytes that it holds
	Bytes   uint64 // sent, Ethernet headers included
	Packets uint64
	Drops   uint64 // packets that found the queue full
	Backlog uint64 // bytes that wait in the queue now
}

// shape is the capacity of an uplink and the length of the queue before it.
type shape struct {
	rate       bitrate.Rate
	queueBytes int
}

// maxRate is what a token bucket can be told in its 32 bits of byte/s.
const maxRate = bitrate.Rate(math.MaxUint32) * 8

// ShapeUplink gives a node's uplink a capacity and a drop-tail queue of the
// given length: a token bucket for what comes from the node, where the network
// begins. Above 200 Mbit/s a host with two processors, not the queue, becomes the
// bottleneck.
func (c *Cluster) ShapeUplink(_ context.Context, node string, rate bitrate.Rate, queueBytes int) error {
	if rate.Bytes() == 0 || rate > maxRate || queueBytes <= 0 || queueBytes > math.MaxInt32 {
		return fmt.Errorf("shape the uplink of %s to %s with a queue of %d bytes: both must be positive, and the rate at most %s",
			node, rate, queueBytes, maxRate)
	}
	return c.onUplink(node, func(i int) error { return setShape(i, shape{rate, queueBytes}) })
}

// UnshapeUplink removes the capacity set by ShapeUplink, if any.
func (c *Cluster) UnshapeUplink(_ context.Context, node string) error {
	return c.onUplink(node, removeShape)
}

// UplinkStats reads a shaped uplink.
func (c *Cluster) UplinkStats(_ context.Context, node string) (UplinkStats, error) {
	stats, err := c.readUplink(node)
	if err == nil && stats == nil {
		err = fmt.Errorf("uplink of %s: it has no counters because it is not shaped", node)
	}
	if err != nil {
		return UplinkStats{}, err
	}
	return *stats, nil
}

// readUplink returns nil where the uplink is not shaped.
func (c *Cluster) readUplink(node string) (stats *UplinkStats, err error) {
	err = c.onUplink(node, func(i int) (err error) {
		stats, err = readShape(i)
		return err
	})
	return stats, err
}

// onUplink calls fn with the node's number where its uplink ends.
func (c *Cluster) onUplink(node string, fn func(i int) error) error {
	i, err := c.spec.Index(node)
	if err == nil {
		err = c.fabric().Net(func() error { return fn(i) })
	}
	if err != nil {
		return fmt.Errorf("uplink of %s: %w", node, err)
	}
	return nil
}
