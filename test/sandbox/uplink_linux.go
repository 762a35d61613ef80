package sandbox

import (
	"github.com/vishvananda/netlink"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox/instance"
)

// burstBytes is the token bucket: one full segment of segmentation offload
// (64 KiB), which is 2.6 ms of a 200 Mbit/s link.
const burstBytes = 64 << 10

// setShape, removeShape and readShape work on the uplink of the calling
// thread's network namespace.
func setShape(s shape) error {
	link, err := netlink.LinkByName(instance.UplinkName)
	if err != nil {
		return err
	}
	return netlink.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
		},
		Rate:   s.rate.Bytes(),
		Buffer: netlink.Xmittime(s.rate.Bytes(), burstBytes),
		Limit:  uint32(s.queueBytes),
	})
}

func removeShape() error {
	tbf, err := findTbf()
	if err != nil || tbf == nil {
		return err
	}
	return netlink.QdiscDel(tbf)
}

func readShape() (*shape, UplinkStats, error) {
	tbf, err := findTbf()
	if err != nil || tbf == nil {
		return nil, UplinkStats{}, err
	}
	s := &shape{rate: bitrate.Rate(tbf.Rate * 8), queueBytes: int(tbf.Limit)}
	var stats UplinkStats
	if counted := tbf.Statistics; counted != nil && counted.Basic != nil && counted.Queue != nil {
		stats = UplinkStats{
			Bytes:   counted.Basic.Bytes,
			Packets: uint64(counted.Basic.Packets),
			Drops:   uint64(counted.Queue.Drops),
			Backlog: uint64(counted.Queue.Backlog),
		}
	}
	return s, stats, nil
}

// findTbf returns nil where the uplink has no token bucket.
func findTbf() (*netlink.Tbf, error) {
	link, err := netlink.LinkByName(instance.UplinkName)
	if err != nil {
		return nil, err
	}
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
