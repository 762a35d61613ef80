package enforce

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
)

// ErrForeign says that somebody else shapes the interface; detnet leaves it be.
var ErrForeign = errors.New("foreign traffic control on the interface")

// What is ours is known by these: the handle of our qdiscs and the priority of
// our filter. They survive a restart of the agent in the kernel itself.
var ourHandle = netlink.MakeHandle(0xde7e, 0)

const ourPriority = 0xde7e

// kernel sets limits on interfaces by netlink.
type kernel struct{ *netlink.Handle }

// limitEgress holds what the pod behind index sends to rate: what its host-side
// interface receives is redirected to an ifb, and waits there. It returns the
// index of the ifb. The redirection comes last, so there is no gap. The note on
// the ifb comes before the rate: who reads it then knows the newest.
func (k kernel) limitEgress(index int, ifb, note string, rate bitrate.Rate) (int, error) {
	root, err := k.ingressOf(index)
	if err != nil {
		return 0, err
	}
	link, err := k.ensureIfb(ifb)
	if err != nil {
		return 0, err
	}
	if link.Attrs().Alias != note {
		if err := k.LinkSetAlias(link, note); err != nil {
			return 0, fmt.Errorf("note the limit on %s: %w", ifb, err)
		}
	}
	behind := link.Attrs().Index
	if err := k.ensureBucket(behind, bucketOf(rate)); err != nil {
		return 0, fmt.Errorf("limit %s: %w", ifb, err)
	}
	if root.redirects == behind {
		return behind, nil
	}
	if !root.present {
		q := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0)}}
		if err := k.QdiscAdd(q); err != nil {
			return 0, fmt.Errorf("add the ingress qdisc: %w", err)
		}
	}
	filter := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: netlink.MakeHandle(0xffff, 0), Priority: ourPriority, Protocol: unix.ETH_P_ALL},
		Actions: []netlink.Action{netlink.NewMirredAction(behind)},
	}
	if root.redirects != 0 { // to an ifb that is gone
		if err := k.FilterDel(filter); err != nil && !errors.Is(err, unix.ENOENT) {
			return 0, fmt.Errorf("remove a stale redirection: %w", err)
		}
	}
	if err := k.FilterAdd(filter); err != nil {
		return 0, fmt.Errorf("redirect to %s: %w", ifb, err)
	}
	return behind, nil
}

// ingress is what stands at an interface's ingress.
type ingress struct {
	present   bool
	redirects int // index of the interface that our filter redirects to
}

// ingressOf inspects the interface, and refuses what is not ours.
func (k kernel) ingressOf(index int) (ingress, error) {
	var found ingress
	qdiscs, err := k.qdiscs(index)
	if err != nil {
		return found, err
	}
	for _, q := range qdiscs {
		switch q.Type() {
		case "clsact":
			return found, fmt.Errorf("a clsact qdisc: %w", ErrForeign)
		case "ingress":
			found.present = true
		}
	}
	if !found.present {
		return found, nil
	}
	filters, err := k.FilterList(linkOf(index), netlink.MakeHandle(0xffff, 0))
	if err != nil {
		return found, fmt.Errorf("list filters: %w", err)
	}
	for _, f := range filters {
		if p := f.Attrs().Priority; p < firstPriority || p > ourPriority || f.Type() != "u32" {
			return found, fmt.Errorf("a %s filter with priority %d: %w", f.Type(), p, ErrForeign)
		}
		if u, ok := f.(*netlink.U32); ok && u.RedirIndex != 0 {
			found.redirects = u.RedirIndex
		}
	}
	return found, nil
}

// freeEgress ends the redirection; what waits in the ifb is let go at once. It
// reports whether there is an ifb left for removeIfb, later.
func (k kernel) freeEgress(index int, ifb string) (left bool, err error) {
	root, err := k.ingressOf(index)
	if err != nil {
		return false, err
	}
	if root.redirects != 0 {
		q := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0)}}
		if err := k.QdiscDel(q); err != nil && !errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("remove the ingress qdisc: %w", err)
		}
	}
	link, err := k.LinkByName(ifb)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", ifb, err)
	}
	if err := k.ensureBucket(link.Attrs().Index, open); err != nil {
		return false, fmt.Errorf("let %s run empty: %w", ifb, err)
	}
	return true, nil
}

func (k kernel) removeIfb(name string) error {
	link, err := k.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = k.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (k kernel) ensureIfb(name string) (netlink.Link, error) {
	link, err := k.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		link = &netlink.Ifb{LinkAttrs: attrs}
		err = k.LinkAdd(link)
		if err == nil {
			link, err = k.LinkByName(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if link.Attrs().Flags&unix.IFF_UP == 0 {
		if err := k.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("bring %s up: %w", name, err)
		}
	}
	return link, nil
}

// limitIngress holds what is sent to the pod behind index to rate, at the root
// of its host-side interface.
func (k kernel) limitIngress(index int, rate bitrate.Rate) error {
	return k.ensureBucket(index, bucketOf(rate))
}

// freeIngress lets go what waits, and reports whether there is a qdisc left for
// removeIngress, later.
func (k kernel) freeIngress(index int) (left bool, err error) {
	q, err := k.root(index)
	if err != nil || q == nil {
		return false, err
	}
	return true, k.ensureBucket(index, open)
}

func (k kernel) removeIngress(index int) error {
	q, err := k.root(index)
	if err != nil || q == nil {
		return err
	}
	if err := k.QdiscDel(q); err != nil {
		return fmt.Errorf("remove the root qdisc: %w", err)
	}
	return nil
}

// ensureBucket makes b the root of the interface. A change keeps the packets
// that wait (tbf_change keeps the inner queue).
func (k kernel) ensureBucket(index int, b bucket) error {
	q, err := k.root(index)
	if err != nil {
		return err
	}
	want := b.qdisc(index, ourHandle)
	switch {
	case q == nil:
		err = k.QdiscAdd(want)
	case b.is(q):
		return nil
	default:
		err = k.QdiscChange(want)
	}
	if err != nil {
		return fmt.Errorf("set the token bucket to %d octets/s: %w", b.rate, err)
	}
	return nil
}

// root returns our token bucket at the root of the interface, nil if the root
// is what the kernel put there.
func (k kernel) root(index int) (*netlink.Tbf, error) {
	qdiscs, err := k.qdiscs(index)
	if err != nil {
		return nil, err
	}
	for _, q := range qdiscs {
		a := q.Attrs()
		if a.Parent != netlink.HANDLE_ROOT || a.Handle == 0 { // the kernel's defaults have no handle
			continue
		}
		if tbf, ok := q.(*netlink.Tbf); ok && a.Handle == ourHandle {
			return tbf, nil
		}
		return nil, fmt.Errorf("a %s qdisc with handle %s at the root: %w", q.Type(), netlink.HandleStr(a.Handle), ErrForeign)
	}
	return nil, nil
}

func (k kernel) qdiscs(index int) ([]netlink.Qdisc, error) {
	all, err := k.QdiscList(linkOf(index))
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	return all, nil
}

// linkOf is an interface for calls that need its index only.
func linkOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}
