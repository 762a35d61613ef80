package enforce

import (
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/pods"
)

// merge is what is to be in force on a pod, from what was, its annotations and
// what the leader said. The error is an annotation that can't be read.
func (e *Enforcer) merge(held limits.Held, p pods.Pod) (limits.Held, error) {
	record := limits.Record{Egress: p.Egress, Decision: p.Decision}
	if e.Ledger != nil {
		d, listed, known := e.Ledger.Of(p.UID)
		if known && !listed {
			return held.Follow(record)
		}
		if !d.Order.IsZero() {
			held, err := held.Record(record)
			return held.Decide(d.Order, d.Rate), err
		}
	}
	return held.Record(record)
}

// recall is what the agent before this one held a pod to, which may be newer than
// the pod's annotations: it is written on the limiter.
func (e *Enforcer) recall(uid string) limits.Held {
	link, err := e.kernel.LinkByName(ifbName(uid))
	if err != nil {
		return limits.Held{} // nothing is limited
	}
	held, err := limits.ParseHeld(link.Attrs().Alias)
	if err != nil {
		return limits.Held{} // of an agent that knew annotations only
	}
	return held
}

// strangers says that the leader speaks of pods that are not on this node, once
// for as long as it does. Nothing is done about them.
func (e *Enforcer) strangers(present map[string]bool) {
	if e.Ledger == nil {
		return
	}
	n := e.Ledger.Strangers(func(uid string) bool { return present[uid] })
	if n > 0 && e.unknown == 0 {
		e.log.Warn("the controller has limits for pods that are not on this node; they are left out", "pods", n)
	}
	e.unknown = n
}
