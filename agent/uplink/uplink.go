// Package uplink tells what a node's packets leave by. With Cilium it depends on
// the queue there whether limits are paced, and on the speed what priority is
// worth.
package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
)

// Uplink is one interface with a default route.
type Uplink struct {
	Interface string
	// Queue is the kind of the queueing discipline at its root, such as fq; of one
	// queue each of several it is mq/ and their kind, such as mq/fq.
	Queue string
	Speed bitrate.Rate // of the link, as its driver says; 0: it does not, or makes it up
	Index int          // of the interface
}

// Most is how many are told of.
const Most = 16

// every is how often they are read: they change with a cable or with a qdisc that
// somebody replaces.
const every = 10 * time.Second

// Watch keeps what Read says of the namespace that it was made in.
type Watch struct {
	handle  *netlink.Handle
	sys     string
	log     *slog.Logger
	current atomic.Pointer[[]Uplink]
	failed  string // what the log was told
}

// NewWatch reads the uplinks of the calling thread's namespace.
func NewWatch(log *slog.Logger) (*Watch, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	w := &Watch{handle: h, sys: "/sys/class/net", log: log}
	w.read()
	return w, nil
}

// Run reads anew until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	defer w.handle.Close()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		w.read()
	}
}

// read leaves what was there where it fails, and says so once.
func (w *Watch) read() {
	uplinks, err := Read(w.handle, w.sys)
	if err != nil {
		if text := err.Error(); text != w.failed {
			w.failed = text
			w.log.Warn("the uplinks cannot be read: what their queue means for targets is not told", "err", err)
		}
		return
	}
	w.failed = ""
	uplinks = uplinks[:min(len(uplinks), Most)]
	w.current.Store(&uplinks)
}

// Current returns the uplinks; nil while they are not known. It is not to be
// changed.
func (w *Watch) Current() []Uplink {
	if w == nil || w.current.Load() == nil {
		return nil
	}
	return *w.current.Load()
}

// Read returns the uplinks of the namespace that h is in, by name. Speeds are
// those below sys, the folder of the namespace's interfaces (/sys/class/net).
func Read(h *netlink.Handle, sys string) ([]Uplink, error) {
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var indexes []int
	for _, r := range routes {
		if !isDefault(r) {
			continue
		}
		for _, hop := range r.MultiPath {
			indexes = append(indexes, hop.LinkIndex)
		}
		if len(r.MultiPath) == 0 {
			indexes = append(indexes, r.LinkIndex)
		}
	}
	slices.Sort(indexes)
	var uplinks []Uplink
	for _, index := range slices.Compact(indexes) {
		link, err := h.LinkByIndex(index)
		if err != nil {
			return nil, fmt.Errorf("find interface %d: %w", index, err)
		}
		queues, err := h.QdiscList(link)
		if err != nil {
			return nil, fmt.Errorf("list the queues of %s: %w", link.Attrs().Name, err)
		}
		name := link.Attrs().Name
		uplinks = append(uplinks, Uplink{name, queueOf(queues), speed(link.Type(), filepath.Join(sys, name)), index})
	}
	slices.SortFunc(uplinks, func(a, b Uplink) int { return strings.Compare(a.Interface, b.Interface) })
	return uplinks, nil
}

// isDefault reports whether a route is for everything.
func isDefault(r netlink.Route) bool {
	if r.Type != unicast {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

const unicast = 1 // RTN_UNICAST

// queueOf describes the root of an interface's queues.
func queueOf(queues []netlink.Qdisc) string {
	root := ""
	kinds := map[string]bool{}
	for _, q := range queues {
		switch {
		case q.Attrs().Parent == netlink.HANDLE_ROOT:
			root = q.Type()
		case q.Attrs().Parent == netlink.HANDLE_INGRESS || q.Type() == "clsact" || q.Type() == "ingress":
		default:
			kinds[q.Type()] = true
		}
	}
	if root != "mq" || len(kinds) == 0 {
		return root
	}
	if len(kinds) > 1 {
		return "mq/several"
	}
	for kind := range kinds {
		root += "/" + kind
	}
	return root
}

// Interfaces whose speed is that of a link: those with a device, and what is made of
// them. A veth says 10 Gbit/s and a tun 10 Mbit/s, whatever is behind them.
var linked = []string{"device", "bond", "vlan"}

// Drivers of virtual devices, which say what somebody made up.
var virtual = []string{"virtio_net", "vmxnet3", "hv_netvsc", "vif"}

// speed reads, below an interface's folder, a number of Mbit/s. What has no link says
// -1, cannot be read, or is not asked.
func speed(kind, dir string) bitrate.Rate {
	driver, _ := os.Readlink(filepath.Join(dir, "device", "driver")) // a bond has none
	if !slices.Contains(linked, kind) || slices.Contains(virtual, filepath.Base(driver)) {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(dir, "speed"))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	return bitrate.Rate(n) * bitrate.Mbit
}
