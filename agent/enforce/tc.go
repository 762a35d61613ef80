package enforce

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
)

// errForeign says that somebody else shapes the interface; detnet leaves it be.
var errForeign = errors.New("foreign traffic control on the interface")

// What is ours is known by the handles of our qdiscs and the priority of
// our filter. They survive a restart of the agent in the kernel itself.
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

// inForce is what holds the pod behind index now, as whoever put it there left it.
func (k kernel) inForce(index int, ifb string) (now usage.Enforced, err error) {
	at, err := k.limiter(index)
	if err != nil {
		return now, err
	}
	now.Ingress = limitOf(at.octets())
	root, err := k.ingressOf(index)
	if err != nil || root.redirects == 0 {
		return now, err
	}
	link, err := k.LinkByName(ifb)
	if errors.As(err, new(netlink.LinkNotFoundError)) || err == nil && link.Attrs().Index != root.redirects {
		return now, nil // it is redirected to what is not this pod's
	}
	if err != nil {
		return now, fmt.Errorf("look up %s: %w", ifb, err)
	}
	if at, err = k.limiter(root.redirects); err != nil {
		return now, err
	}
	if now.Egress = limitOf(at.octets()); now.Egress != 0 {
		now.Behind = root.redirects
	}
	return now, nil
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
			return found, fmt.Errorf("a clsact qdisc: %w", errForeign)
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
			return found, fmt.Errorf("a %s filter with priority %d: %w", f.Type(), p, errForeign)
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

// removeIfb reports that packets wait in the ifb, or removes it, anyway so if it is to.
func (k kernel) removeIfb(name string, anyway bool) (waits bool, err error) {
	link, err := k.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err == nil && !anyway {
		now, err := k.limiter(link.Attrs().Index)
		if err == nil && now.waits() {
			return true, nil
		}
	}
	if err == nil {
		err = k.LinkDel(link)
	}
	if err != nil {
		return false, fmt.Errorf("remove %s: %w", name, err)
	}
	return false, nil
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
	now, err := k.limiter(index)
	if err != nil || now.root == nil {
		return false, err
	}
	return true, k.ensureBucket(index, open)
}

// removeIngress reports that packets wait at the root, or removes it, anyway so if it is to.
func (k kernel) removeIngress(index int, anyway bool) (waits bool, err error) {
	now, err := k.limiter(index)
	if err != nil || now.root == nil {
		return false, err
	}
	if !anyway && now.waits() {
		return true, nil
	}
	if err := k.QdiscDel(now.root); err != nil {
		return false, fmt.Errorf("remove the root qdisc: %w", err)
	}
	return false, nil
}

// ensureBucket has b in force at the root of the interface. A change keeps the packets
// that wait, and lets none through beside the rate.
func (k kernel) ensureBucket(index int, b bucket) error {
	now, err := k.limiter(index)
	if err != nil {
		return err
	}
	if now.class == nil {
		if err := k.addRoot(index, now); err != nil {
			return fmt.Errorf("add htb for a rate: %w", err)
		}
	}
	want, queue := b.class(index), b.queue(index)
	if is := now.class; is == nil || is.Rate != want.Rate || is.Ceil != want.Ceil || is.Buffer != want.Buffer {
		if err := k.ClassReplace(want); err != nil {
			return fmt.Errorf("set the rate to %d octets/s: %w", b.rate, err)
		}
	}
	if is := now.queue; is == nil || is.Limit != queue.Limit {
		if err := k.QdiscReplace(queue); err != nil {
			return fmt.Errorf("set the queue to %d octets: %w", b.limit, err)
		}
	}
	return nil
}

// addRoot puts htb at the root where it is not. What waits in the tbf of an agent before
// this one is lost, at most 50 ms of what the pod sends.
func (k kernel) addRoot(index int, now limiter) (err error) {
	switch {
	case now.root == nil:
		err = k.QdiscAdd(rootOf(index))
	case now.root.Attrs().Handle == formerHandle:
		err = k.QdiscReplace(rootOf(index))
	}
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the kernel has no htb (load its module sch_htb on the node): %w", err)
	}
	return err
}

// limiter is what of ours stands at the root of an interface; nil is what does not.
type limiter struct {
	root  netlink.Qdisc
	class *netlink.HtbClass
	queue *netlink.Tbf
}

// octets are what it lets through in a second; 0: there is none.
func (l *limiter) octets() uint64 {
	if l.class != nil {
		return l.class.Rate
	}
	if former, ok := l.root.(*netlink.Tbf); ok {
		return former.Rate
	}
	return 0
}

// waits reports whether packets wait in it.
func (l *limiter) waits() bool {
	if l.root == nil {
		return false
	}
	s := l.root.Attrs().Statistics
	return s != nil && s.Queue != nil && s.Queue.Qlen > 0
}

// limiter inspects the root of the interface, and refuses what is neither ours nor what the kernel put there.
func (k kernel) limiter(index int) (now limiter, err error) {
	qdiscs, err := k.qdiscs(index)
	if err != nil {
		return now, err
	}
	for _, q := range qdiscs {
		a := q.Attrs()
		tbf, isTbf := q.(*netlink.Tbf)
		switch {
		case a.Parent == classHandle && isTbf && a.Handle == queueHandle:
			now.queue = tbf
		case a.Parent != netlink.HANDLE_ROOT || a.Handle == 0: // the kernel's defaults have no handle
		case a.Handle == rootHandle && q.Type() == "htb", a.Handle == formerHandle && isTbf:
			now.root = q
		default:
			return now, fmt.Errorf("a %s qdisc with handle %s at the root: %w", q.Type(), netlink.HandleStr(a.Handle), errForeign)
		}
	}
	if now.root == nil || now.root.Attrs().Handle != rootHandle {
		return now, nil
	}
	classes, err := k.ClassList(linkOf(index), rootHandle)
	if err != nil {
		return now, fmt.Errorf("list classes: %w", err)
	}
	for _, c := range classes {
		if class, ok := c.(*netlink.HtbClass); ok && class.Handle == classHandle {
			now.class = class
		}
	}
	return now, nil
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
