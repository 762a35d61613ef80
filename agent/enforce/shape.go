package enforce

import (
	"math"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/bitrate"
)

// bucket is what a limiter is told for one limit.
type bucket struct {
	rate  uint64 // octets/s
	burst uint32 // octets
	limit uint32 // octets that may wait
}

const (
	// A packet may not be larger than this: what is, segmentation offload has
	// made, and it is segmented on the way in. The value is the same for every
	// rate, because a packet larger than what is allowed behind it would
	// never leave (tbf_dequeue). It lies in the gap between sixteen full frames
	// and the next size that offload makes at an MTU of 1500.
	largest = 16*1514 + 20

	// The bucket makes up for a timer that comes this late, as they do on a
	// busy machine; a sender that was idle may burst as much, and a packet more.
	lateTimer  = 0.003
	leastBurst = 2 * 1514

	// The queue's own rate, in octets/s, which limits nothing: its peak is how the largest packet is told.
	anyRate = 1_000_000_000_000

	// The queue holds 50 ms, and at low rates enough for a few large segments.
	queueTime = 0.05
	minQueue  = 64 << 10

	// headroom covers Ethernet, IP and TCP headers by half: a limit is then met
	// within 3 % whether one counts what an application sends in full-sized
	// packets (4.4 % less than the frames) or the frames themselves.
	headroom = 1.02
)

func bucketOf(limit bitrate.Rate) bucket {
	// No interface is faster than the highest rate, and its bucket would not fit.
	rate := float64(min(limit, bitrate.Max)) / 8 * headroom
	return bucket{
		rate:  uint64(rate),
		burst: uint32(max(leastBurst, rate*lateTimer)),
		limit: uint32(max(minQueue, min(rate*queueTime, 64<<20))),
	}
}

// limitOf is the limit that a bucket of so many octets/s is for, to the few bits that are lost
// in it; 0 for none, and for one that lets everything through.
func limitOf(octets uint64) bitrate.Rate {
	if octets == 0 || octets == open.rate {
		return 0
	}
	middle := (float64(octets) + 0.5) * 8 / headroom
	if round := bitrate.Rate(math.Round(middle/1000) * 1000); bucketOf(round).rate == octets {
		return round
	}
	return bitrate.Rate(middle)
}

// open lets everything through: the last setting before a limiter is removed,
// so that what waits in it is sent and not dropped.
var open = bucket{rate: 12_500_000_000, burst: 8 << 20, limit: 64 << 20}

// What is ours at the root of an interface: htb with one class, which has the rate,
// and a tbf below it, which holds and segments what waits and has no rate of its own. A
// change of htb's rate leaves the class's tokens as they are (htb_change_class); tbf's
// fills its bucket (tbf_change), 24 kB that a queue elsewhere would then hold.
var (
	rootHandle   = netlink.MakeHandle(0xde7f, 0)
	classHandle  = netlink.MakeHandle(0xde7f, 1)
	queueHandle  = netlink.MakeHandle(0xde80, 0)
	formerHandle = netlink.MakeHandle(0xde7e, 0) // a tbf that agents before this one made
)

func rootOf(index int) *netlink.Htb {
	q := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: rootHandle})
	q.Defcls = classHandle & 0xffff
	// Before the class is there, packets pass by it, and wait for nothing.
	passing := uint32(1000)
	q.DirectQlen = &passing
	return q
}

// class is the rate of b on the interface with this index.
func (b bucket) class(index int) *netlink.HtbClass {
	return &netlink.HtbClass{
		ClassAttrs: netlink.ClassAttrs{LinkIndex: index, Parent: rootHandle, Handle: classHandle},
		Rate:       b.rate, Ceil: b.rate,
		Buffer: b.ticks(), Cbuffer: b.ticks(),
		Quantum: largest, // of no effect with one class; the kernel warns of what it would choose
	}
}

// queue is what waits for b on the interface with this index.
func (b bucket) queue(index int) *netlink.Tbf {
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: classHandle, Handle: queueHandle},
		Rate:       anyRate,
		Limit:      b.limit,
		Buffer:     bucket{rate: anyRate, burst: open.burst}.ticks(),
		Peakrate:   2 * anyRate,
		Minburst:   largest,
	}
}

// ticks is the burst in the unit of the kernel's packet scheduler, rounded up.
func (b bucket) ticks() uint32 {
	return uint32(math.Ceil(float64(b.burst) / float64(b.rate) * 1e6 * netlink.TickInUsec()))
}
