package usage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// counters are the octets that an interface has received and sent since it was
// made, seen from the host.
type counters struct{ rx, tx uint64 }

// Layout of struct rtnl_link_stats64.
const (
	offsetRxBytes = 2 * 8
	offsetTxBytes = 3 * 8
	statsMinSize  = 4 * 8
)

// ifStatsMsg is struct if_stats_msg: RTM_GETSTATS with only the 64-bit counters
// asked for is a tenth of what RTM_GETLINK returns.
type ifStatsMsg struct{ mask uint32 }

const ifStatsMsgSize = 12

func (m ifStatsMsg) Len() int { return ifStatsMsgSize }

func (m ifStatsMsg) Serialize() []byte {
	b := make([]byte, ifStatsMsgSize)
	binary.NativeEndian.PutUint32(b[8:], m.mask)
	return b
}

// statsSocket dumps counters over one netlink socket that stays open.
type statsSocket map[int]*nl.SocketHandle

// openStats opens the socket in the network namespace of the calling thread.
func openStats() (statsSocket, error) {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return statsSocket{unix.NETLINK_ROUTE: {Socket: socket}}, nil
}

func (s statsSocket) close() { s[unix.NETLINK_ROUTE].Close() }

// read dumps every interface's counters into into, by index.
func (s statsSocket) read(into map[int]counters) error {
	clear(into)
	req := nl.NewNetlinkRequest(unix.RTM_GETSTATS, unix.NLM_F_DUMP)
	req.Sockets = s
	req.AddData(ifStatsMsg{mask: 1 << (unix.IFLA_STATS_LINK_64 - 1)})
	var bad error
	err := req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWSTATS, func(msg []byte) bool {
		bad = errors.Join(bad, parseStats(msg, into))
		return true
	})
	if err := errors.Join(err, bad); err != nil {
		return fmt.Errorf("dump interface counters: %w", err)
	}
	return nil
}

func parseStats(msg []byte, into map[int]counters) error {
	if len(msg) < ifStatsMsgSize {
		return fmt.Errorf("statistics message of %d octets", len(msg))
	}
	index := int(binary.NativeEndian.Uint32(msg[4:]))
	return attributes(msg[ifStatsMsgSize:], func(kind uint16, value []byte) {
		if kind == unix.IFLA_STATS_LINK_64 && len(value) >= statsMinSize {
			into[index] = linkStats(value)
		}
	})
}

// attributes walks netlink's attributes (struct rtattr).
func attributes(rest []byte, each func(kind uint16, value []byte)) error {
	for len(rest) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			return fmt.Errorf("netlink attribute of %d octets in %d", size, len(rest))
		}
		each(binary.NativeEndian.Uint16(rest[2:]), rest[unix.SizeofRtAttr:size])
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return nil
}

// linkStats reads struct rtnl_link_stats64.
func linkStats(v []byte) counters {
	return counters{rx: binary.NativeEndian.Uint64(v[offsetRxBytes:]), tx: binary.NativeEndian.Uint64(v[offsetTxBytes:])}
}
