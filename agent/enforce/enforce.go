// Package enforce holds running pods to their bandwidth annotations, and to what
// the leader says of them before it is written there, by traffic control, on clusters whose CNI reads them at pod creation only (the CNI
// bandwidth plugin, bridge, ptp, flannel …). On Cilium, which follows them
// itself, it stays off.
//
// What a pod sends is redirected from its host-side interface to an ifb of its
// own and waits there in a token bucket; what is sent to it waits in a token
// bucket at the root of the interface. Everything that is ours is named or
// numbered so that the next agent finds it; limits stay in force while no agent
// runs. Foreign traffic control is left alone and reported.
package enforce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/locate"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/workload"
)

// ifbPrefix begins the name of each ifb of ours.
const ifbPrefix = "dtn"

func ifbName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return ifbPrefix + hex.EncodeToString(sum[:6])
}

// Pods is the watch that the enforcer follows. *pods.Watch is one.
type Pods interface {
	List() []pods.Pod
	Changed() <-chan struct{}
	Synced() bool
}

// verifyEvery is how often what stands in the kernel is compared with what
// should, and failures are tried again.
const verifyEvery = 2 * time.Second

// Enforcer follows the pods. Make it with New, serve it with Run.
type Enforcer struct {
	// Turns is told of each round over the pods, to notice one that hangs. Set
	// before Run; nil: nobody is.
	Turns *alive.Part
	// Ledger holds what the leader said over its stream. Set before Run; nil: the
	// annotations alone count.
	Ledger *limits.Ledger

	pods    Pods
	log     *slog.Logger
	kernel  kernel
	changes *prometheus.CounterVec
	failed  prometheus.Gauge

	applied  map[string]*applied // by UID; of Run alone
	draining []*draining         // what to remove at a verification to come
	unknown  int                 // pods the leader spoke of that are not here, at the last verification

	mu       sync.Mutex
	enforced map[string]usage.Enforced
}

// applied is what was last done for a pod.
type applied struct {
	pod    pods.Pod
	held   limits.Held
	index  int
	limits usage.Enforced
	err    string
}

// New returns an Enforcer for the network namespace that the calling thread is in.
func New(p Pods, log *slog.Logger, r prometheus.Registerer) (*Enforcer, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink handle: %w", err)
	}
	e := &Enforcer{
		pods: p, log: log, kernel: kernel{handle},
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_enforce_changes_total", Help: "Limits set, changed or removed, by result."}, []string{"result"}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "detnet_enforce_failed_pods", Help: "Pods on this node whose annotations cannot be enforced now."}),
		applied:  map[string]*applied{},
		enforced: map[string]usage.Enforced{},
	}
	r.MustRegister(e.changes, e.failed)
	return e, nil
}

// Enforced returns what is enforced on the pod with this UID.
func (e *Enforcer) Enforced(uid string) usage.Enforced {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.enforced[uid]
}

// Run follows the pods until ctx ends. The limits stay in force for the next
// agent, unless retired says that there will be none.
func (e *Enforcer) Run(ctx context.Context, retired func() bool) error {
	defer e.kernel.Close()
	ticker := time.NewTicker(verifyEvery)
	defer ticker.Stop()
	var said <-chan struct{}
	if e.Ledger != nil {
		said = e.Ledger.Changed()
	}
	for {
		select {
		case <-ctx.Done():
			if retired() {
				e.release()
			}
			return nil
		case <-said:
			if e.pods.Synced() {
				e.reconcile(false)
			}
		case <-e.pods.Changed():
			if e.pods.Synced() {
				e.reconcile(false)
			}
		case <-ticker.C:
			if e.pods.Synced() {
				e.reconcile(true)
			}
		}
	}
}

// reconcile brings every pod's limits to what is to be in force. With verify
// it looks at the kernel even where nothing changed, and clears what is left of
// pods that are gone.
func (e *Enforcer) reconcile(verify bool) {
	e.Turns.Begin()
	defer e.Turns.End()
	if verify {
		e.finishDraining()
	}
	present, list := map[string]bool{}, e.pods.List()
	for _, p := range list {
		present[p.UID] = true
	}
	for uid := range e.applied {
		if !present[uid] {
			e.forget(uid)
		}
	}
	for _, p := range list {
		a := e.applied[p.UID]
		fresh := a == nil
		if fresh {
			a = &applied{held: e.recall(p.UID)}
			e.applied[p.UID] = a
		}
		moved := !fresh && !slices.Equal(a.pod.IPs, p.IPs)
		held, err := e.merge(a.held, p)
		if !fresh && !verify && !moved && held == a.held && a.pod.Egress == p.Egress && a.pod.Ingress == p.Ingress {
			continue
		}
		if moved {
			e.leave(a)
			again(a)
		}
		a.pod, a.held = p, held
		e.note(a, errors.Join(err, e.apply(a)))
	}
	if verify {
		e.sweep(present)
		e.strangers(present)
	}
	failed := 0
	for _, a := range e.applied {
		if a.err != "" {
			failed++
		}
	}
	e.failed.Set(float64(failed))
}

// forget drops a pod that is gone.
func (e *Enforcer) forget(uid string) {
	gone := e.applied[uid]
	delete(e.applied, uid)
	e.publish(uid, usage.Enforced{})
	e.leave(gone)
}

// leave is of a pod that is gone or has another address by now. Where its former one, and so its
// interface, is another pod's, what was put there for it is taken away: that pod would be limited
// for it, and send nothing once its ifb goes.
func (e *Enforcer) leave(was *applied) {
	for _, other := range e.applied {
		if was.index != 0 && other != was && other.index == was.index {
			again(other)
			e.note(other, e.apply(other))
		}
	}
}

// again has the interface of a pod looked at that has no limits: it may have those of another.
func again(a *applied) {
	if a.limits == (usage.Enforced{}) {
		a.index = 0
	}
}

// apply sets one pod's limits. An annotation that cannot be read leaves the
// limit as it is: better an old limit than none.
func (e *Enforcer) apply(a *applied) error {
	egress := a.held.Rate
	ingress, errIngress := wanted(a.pod.Ingress, workload.AnnotationIngressBandwidth, a.limits.Ingress)
	if egress == 0 && ingress == 0 && a.limits == (usage.Enforced{}) && a.index != 0 {
		return errIngress // never limited, and looked at once for an earlier agent's limits
	}
	if len(a.pod.IPs) == 0 {
		return nil // comes again when the CNI has given it one
	}
	index, err := locate.Pod(e.kernel.Handle, a.pod.IPs)
	if err != nil {
		if egress == 0 && ingress == 0 {
			return nil
		}
		return errors.Join(err, errIngress)
	}
	if a.index == 0 { // an earlier agent may have limited it: what the kernel does not tell, set says
		a.limits, _ = e.kernel.inForce(index, ifbName(a.pod.UID))
		ingress, errIngress = wanted(a.pod.Ingress, workload.AnnotationIngressBandwidth, a.limits.Ingress)
	}
	a.index = index
	was := a.limits
	now, err := e.set(a, egress, ingress)
	if differ(was, now) {
		e.log.Info("limits of a pod changed", "namespace", a.pod.Namespace, "pod", a.pod.Name,
			"egress", now.Egress, "ingress", now.Ingress, "oldEgress", was.Egress, "oldIngress", was.Ingress)
		e.changes.WithLabelValues("done").Inc()
	}
	a.limits = now
	e.publish(a.pod.UID, now)
	return errors.Join(err, errIngress)
}

// differ reports whether the kernel is told anything else. It is not told which decision it was.
func differ(was, now usage.Enforced) bool {
	return bucketOf(was.Egress) != bucketOf(now.Egress) || bucketOf(was.Ingress) != bucketOf(now.Ingress) || was.Behind != now.Behind
}

// wanted reads an annotation; an unreadable one keeps what is in force.
func wanted(text, key string, inForce bitrate.Rate) (bitrate.Rate, error) {
	if text == "" {
		return 0, nil
	}
	rate, err := bitrate.ParseLimit(text)
	if err != nil {
		return inForce, fmt.Errorf("annotation %s: %w", key, err)
	}
	return rate, nil
}

// set brings the kernel to the wanted rates and returns what is in force now.
func (e *Enforcer) set(a *applied, egress, ingress bitrate.Rate) (usage.Enforced, error) {
	now, ifb, index := a.limits, ifbName(a.pod.UID), a.index
	var errs []error
	if egress > 0 {
		behind, err := e.kernel.limitEgress(index, ifb, a.held.Text(), egress)
		if err != nil {
			errs = append(errs, fmt.Errorf("limit egress to %v: %w", egress, err))
		} else {
			now.Egress, now.Behind, now.Newest = egress, behind, a.held.Newest
			if err := e.kernel.passReplies(index, a.pod.IPs); err != nil {
				errs = append(errs, err)
			}
		}
	} else if left, err := e.kernel.freeEgress(index, ifb); err == nil {
		if left {
			e.draining = append(e.draining, &draining{remove: func(last bool) (bool, error) { return e.removeUnused(a, ifb, last) }})
		}
		now.Egress, now.Behind, now.Newest = 0, 0, workload.Order{}
	} else if !errors.Is(err, errForeign) {
		errs = append(errs, fmt.Errorf("free egress: %w", err))
	}
	if ingress > 0 {
		if err := e.kernel.limitIngress(index, ingress); err != nil {
			errs = append(errs, fmt.Errorf("limit ingress to %v: %w", ingress, err))
		} else {
			now.Ingress = ingress
		}
	} else if left, err := e.kernel.freeIngress(index); err == nil {
		if left {
			e.draining = append(e.draining, &draining{remove: func(last bool) (bool, error) { return e.removeIngress(a, last) }})
		}
		now.Ingress = 0
	} else if !errors.Is(err, errForeign) {
		errs = append(errs, fmt.Errorf("free ingress: %w", err))
	}
	return now, errors.Join(errs...)
}

// drainTime lets what waits behind a lifted limit leave before its queue goes.
const drainTime = 200 * time.Millisecond

// release lifts every limit and removes everything of ours.
func (e *Enforcer) release() {
	for _, a := range e.applied {
		if a.limits == (usage.Enforced{}) {
			continue
		}
		left, err := e.set(a, 0, 0)
		a.limits = left
		e.note(a, err)
	}
	for range mostLooks {
		time.Sleep(drainTime)
		if e.finishDraining(); len(e.draining) == 0 {
			break
		}
	}
	e.sweep(nil)
	e.log.Info("the agent is being removed: limits were lifted")
}

// draining is what is left of a limit that was lifted.
type draining struct {
	// remove removes it, and reports that packets wait in it yet instead, unless this is
	// the last look.
	remove func(last bool) (waits bool, err error)
	looks  int
}

// mostLooks is after how many looks it is removed in any case: the packet before those that
// wait is paid for at the old rate, which takes a segment of 24 kB 0.2 s at 1 Mbit/s.
const mostLooks = 5

// removeUnused and removeIngress run at verifications after a limit was lifted, until what
// waited has left. A limit that came back meanwhile stays.
func (e *Enforcer) removeUnused(a *applied, ifb string, last bool) (waits bool, err error) {
	if now := e.applied[a.pod.UID]; now != nil && now.limits.Egress > 0 {
		return false, nil
	}
	return e.kernel.removeIfb(ifb, last)
}

func (e *Enforcer) removeIngress(a *applied, last bool) (waits bool, err error) {
	if a.limits.Ingress > 0 || e.applied[a.pod.UID] != a {
		return false, nil
	}
	return e.kernel.removeIngress(a.index, last)
}

func (e *Enforcer) finishDraining() {
	e.draining = slices.DeleteFunc(e.draining, func(d *draining) bool {
		d.looks++
		waits, err := d.remove(d.looks == mostLooks)
		if err != nil {
			e.log.Warn("cannot remove what is left of a limit", "err", err)
		}
		return !waits
	})
}

// sweep removes the ifbs of pods that are gone, also those that an earlier
// agent left.
func (e *Enforcer) sweep(present map[string]bool) {
	links, err := e.kernel.LinkList()
	if err != nil {
		e.log.Warn("cannot list interfaces to find what pods left behind", "err", err)
		return
	}
	ours := map[string]bool{}
	for uid := range present {
		ours[ifbName(uid)] = true
	}
	for _, link := range links {
		name := link.Attrs().Name
		if link.Type() != "ifb" || !strings.HasPrefix(name, ifbPrefix) || len(name) != len(ifbName("")) || ours[name] {
			continue
		}
		if _, err := e.kernel.removeIfb(name, true); err != nil {
			e.log.Warn("cannot remove the limiter of a pod that is gone", "interface", name, "err", err)
		}
	}
}

func (e *Enforcer) publish(uid string, limits usage.Enforced) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if limits == (usage.Enforced{}) {
		delete(e.enforced, uid)
		return
	}
	e.enforced[uid] = limits
}

// note reports a failure once, and its end.
func (e *Enforcer) note(a *applied, err error) {
	text := ""
	if err != nil {
		text = err.Error()
		e.changes.WithLabelValues("failed").Inc()
	}
	if text == a.err {
		return
	}
	a.err = text
	if err == nil {
		e.log.Info("bandwidth of the pod is enforced again", "namespace", a.pod.Namespace, "pod", a.pod.Name)
		return
	}
	e.log.Warn("cannot enforce the bandwidth of a pod", "namespace", a.pod.Namespace, "pod", a.pod.Name, "err", err)
}
