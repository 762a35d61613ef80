package sandbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/detnet/detnet/bitrate"
)

// UplinkStats counts what a node's uplink sent since it was shaped.
type UplinkStats struct {
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
// given length: tbf on the node's egress. Above 200 Mbit/s a host with two
// processors, not the queue, becomes the bottleneck.
func (c *Cluster) ShapeUplink(ctx context.Context, node string, rate bitrate.Rate, queueBytes int) error {
	if rate.Bytes() == 0 || rate > maxRate || queueBytes <= 0 || queueBytes > math.MaxInt32 {
		return fmt.Errorf("shape the uplink of %s to %s with a queue of %d bytes: both must be positive, and the rate at most %s",
			node, rate, queueBytes, maxRate)
	}
	return c.onUplink(ctx, node, func() error { return setShape(shape{rate, queueBytes}) })
}

// UnshapeUplink removes the capacity set by ShapeUplink, if any.
func (c *Cluster) UnshapeUplink(ctx context.Context, node string) error {
	return c.onUplink(ctx, node, removeShape)
}

// UplinkStats reads the counters of a shaped uplink.
func (c *Cluster) UplinkStats(ctx context.Context, node string) (UplinkStats, error) {
	var stats UplinkStats
	err := c.onUplink(ctx, node, func() error {
		s, counted, err := readShape()
		if err == nil && s == nil {
			return errors.New("it has no counters because it is not shaped")
		}
		stats = counted
		return err
	})
	return stats, err
}

// uplinkShape returns nil where the uplink is not shaped.
func (c *Cluster) uplinkShape(ctx context.Context, node string) (*shape, error) {
	var s *shape
	err := c.onUplink(ctx, node, func() (err error) {
		s, _, err = readShape()
		return err
	})
	return s, err
}

// onUplink calls fn inside the node's network namespace.
func (c *Cluster) onUplink(ctx context.Context, node string, fn func() error) error {
	target, err := c.node(ctx, node)
	if err == nil {
		err = target.Net(fn)
	}
	if err != nil {
		return fmt.Errorf("uplink of %s: %w", node, err)
	}
	return nil
}
