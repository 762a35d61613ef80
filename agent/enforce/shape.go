package enforce

import (
	"math"

	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/bitrate"
)

// bucket is what the token bucket filter is told for one limit.
type bucket struct {
	rate  uint64 // octets/s
	burst uint32 // octets
	limit uint32 // octets that may wait
}

const (
	// A packet may not be larger than this: what is, segmentation offload has
	// made, and it is segmented on the way in. The value is the same for every
	// rate, because a packet larger than a bucket that shrank behind it would
	// never leave (tbf_dequeue). It lies in the gap between sixteen full frames
	// and the next size that offload makes at an MTU of 1500.
	largest = 16*1514 + 20

	// The bucket makes up for a timer that comes this late, as they do on a
	// busy machine; a sender that was idle may burst as much. The least, one
	// largest packet, is 2 % of what 1 Mbit/s sends in 10 s.
	lateTimer = 0.003

	// The peak rate does not limit anything; it is how the largest packet is told.
	leastPeak = 5_000_000_000

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
		burst: uint32(max(largest, rate*lateTimer)),
		limit: uint32(max(minQueue, min(rate*queueTime, 64<<20))),
	}
}

// open lets everything through: the last setting before a filter is removed,
// so that what waits in it is sent and not dropped.
var open = bucket{rate: 12_500_000_000, burst: 8 << 20, limit: 64 << 20}

// qdisc is b as the root of the interface with this index.
func (b bucket) qdisc(index int, handle uint32) *netlink.Tbf {
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: netlink.HANDLE_ROOT, Handle: handle},
		Rate:       b.rate,
		Limit:      b.limit,
		Buffer:     b.ticks(),
		Peakrate:   max(leastPeak, 2*b.rate),
		Minburst:   largest,
	}
}

// ticks is the burst in the unit of tc_tbf_qopt, rounded up.
func (b bucket) ticks() uint32 {
	return uint32(math.Ceil(float64(b.burst) / float64(b.rate) * 1e6 * netlink.TickInUsec()))
}

// is reports whether q enforces b already.
func (b bucket) is(q *netlink.Tbf) bool {
	return q.Rate == b.rate && q.Limit == b.limit && q.Buffer == b.ticks()
}
