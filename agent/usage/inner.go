package usage

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// inner is the pod's own end of its interface: by the number that the host's network namespace
// has for the pod's, and by its index there.
type inner struct{ namespace, index int32 }

// innerOf is the pod's own end of an interface where what the pod sends is counted there alone: the host's
// end of netkit counts what comes out of it, and what a program redirects before, as Cilium's does, never
// does. Nil where the host's end counts; false where the other end is in no pod, or not yet.
func innerOf(host netlink.Link) (*inner, bool) {
	attrs := host.Attrs()
	switch {
	case host.Type() != "netkit":
		return nil, true
	case attrs.NetNsID < 0:
		return nil, false
	}
	return &inner{int32(attrs.NetNsID), int32(attrs.ParentIndex)}, true //nolint:gosec // the kernel has them in 32 bits
}

// errDenied is that the kernel shows the interfaces of pods to no process without CAP_NET_ADMIN
// (rtnetlink's IFLA_TARGET_NETNSID).
var errDenied = errors.New("reading it takes CAP_NET_ADMIN")

// inner reads the counters of a pod's own end, as the pod sees them.
func (s statsSocket) inner(of inner) (counters, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.Sockets = s
	link := nl.NewIfInfomsg(unix.AF_UNSPEC)
	link.Index = of.index
	req.AddData(link)
	req.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(of.namespace)))) //nolint:gosec // as the kernel gave it
	var c counters
	bad := errors.New("no counters in the answer")
	err := req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(msg []byte) bool {
		c, bad = parseLink(msg)
		return true
	})
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = errDenied
	case err == nil:
		err = bad
	}
	if err != nil {
		return counters{}, fmt.Errorf("read the counters of interface %d in network namespace %d: %w", of.index, of.namespace, err)
	}
	return c, nil
}

func parseLink(msg []byte) (c counters, err error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return c, fmt.Errorf("link message of %d octets", len(msg))
	}
	counted := false
	err = attributes(msg[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		if kind == unix.IFLA_STATS64 && len(value) >= statsMinSize {
			c, counted = linkStats(value), true
		}
	})
	if err == nil && !counted {
		err = errors.New("link message without counters")
	}
	return c, err
}
