package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// roads bring the limits of one leader to where they are enforced: down the stream
// of an agent that takes them, and always into the annotation, which is the record.
type roads struct {
	term     uint64 // 0: unknown, and nothing goes down the streams
	sequence uint64
	decided  map[types.UID]decision // the newest of this term
	late     map[types.UID]record   // records found behind at the last look
	looked   time.Time
}

// decision is the newest about one pod.
type decision struct {
	rate  bitrate.Rate
	order workload.Order
}

// record is an annotation that is behind what is in force.
type record struct {
	annotation string
	held       agents.Held
}

// inForce is a pod's limit now: what its agent says, and where none does, what is
// written, unless that is older than what the agent said last.
func inForce(s *inventory.Sender, held agents.Held, fresh bool) bitrate.Rate {
	switch edited := s.Marked && s.Decided.IsZero(); {
	case held.Rate == 0:
		return s.Limit
	case fresh:
		return held.Rate
	case edited || s.Decided.Compare(held.Newest) >= 0:
		return s.Limit
	default:
		return held.Rate
	}
}

// number gives each change that goes down a stream, or replaces one that did, its
// place in the order of decisions. What was decided before and is not yet in force
// keeps the one that it has.
func (r *roads) number(changes []actuate.Change, s *inventory.Snapshot, seen []agents.Usage) {
	if r.term == 0 {
		return
	}
	if r.decided == nil {
		r.decided = map[types.UID]decision{}
	}
	next := workload.Order{Term: r.term, Sequence: r.sequence + 1}
	for i := range changes {
		c := &changes[i]
		k, _ := index(s, c.Pod)
		held := seen[k].Held
		if held.At.IsZero() && !s.Senders[k].Marked {
			continue // no agent takes limits there
		} else if known, ok := r.decided[c.UID]; ok && known.rate == c.To && known.order.Compare(held.Newest) > 0 {
			c.Order = known.order
			continue
		}
		c.Order, r.sequence = next, next.Sequence
		r.decided[c.UID] = decision{c.To, next}
	}
}

// forget drops the pods that are no sender's any more.
func (r *roads) forget(before, after *inventory.Snapshot) {
	if before == nil {
		return // nothing was decided
	}
	inventory.EachChanged(before.Senders, after.Senders, func(was, is *inventory.Sender) {
		if was != nil && (is == nil || is.UID != was.UID) {
			delete(r.decided, was.UID)
		}
	})
}

// tell gives the agents of these nodes, all where nodes is nil, the pods that may
// be limited there and what was decided about them.
func (r *roads) tell(s *inventory.Snapshot, refused map[types.UID]string, m Measurements, nodes map[string]bool) {
	if r.term == 0 {
		return
	}
	pods := map[string][]agents.Limit{}
	for _, a := range s.Agents {
		if a.Role == api.Role_ROLE_NODE && (nodes == nil || nodes[a.Node]) {
			pods[a.Node] = nil // nobody may be limited there: that is to be said too
		}
	}
	for _, sender := range s.Senders {
		known, here := pods[sender.Node]
		if _, no := refused[sender.UID]; !here || no || sender.Mode != workload.Enforce {
			continue
		}
		d := r.decided[sender.UID]
		pods[sender.Node] = append(known, agents.Limit{UID: sender.UID, Egress: d.rate, Sequence: d.order.Sequence})
	}
	for node, limits := range pods {
		m.Limit(r.term, node, limits)
	}
}

// moved are the nodes on which a pod that may be limited came or went, is another or
// in another mode; nil: all, for their agents are others.
func moved(before, after *inventory.Snapshot) map[string]bool {
	if before == nil || !sameAgents(before.Agents, after.Agents) {
		return nil
	}
	nodes := map[string]bool{}
	inventory.EachChanged(before.Senders, after.Senders, func(was, is *inventory.Sender) {
		if was != nil && is != nil && was.UID == is.UID && was.Node == is.Node && was.Mode == is.Mode {
			return
		}
		for _, s := range []*inventory.Sender{was, is} {
			if s != nil {
				nodes[s.Node] = true
			}
		}
	})
	return nodes
}

// lookEvery is the time between two looks for records that are behind. A write
// that is on its way is not behind.
const lookEvery = 3 * time.Second

// behind are the writes that bring records up to what is in force: those that a
// leader before this one did not come to, or that were lost. Found once, it may be
// a change of somebody else's that the agent has yet to see.
func (r *roads) behind(s *inventory.Snapshot, refused map[types.UID]string, seen []agents.Usage, now time.Time) []actuate.Change {
	if r.term == 0 || now.Sub(r.looked) < lookEvery {
		return nil
	}
	before := r.late
	r.late, r.looked = map[types.UID]record{}, now
	var out []actuate.Change
	for i, sender := range s.Senders {
		held, fresh := seen[i].Held, seen[i].Fresh
		_, no := refused[sender.UID]
		if !fresh || no || sender.Mode != workload.Enforce || held.Rate == 0 || held.Rate == sender.Limit || held.Newest.Compare(sender.Decided) <= 0 {
			continue
		}
		held.At = time.Time{}
		found := record{sender.Annotation, held}
		if r.late[sender.UID] = found; before[sender.UID] == found {
			c := changeOf(sender, plan.Limit{Pod: sender.Pod, From: sender.Limit, To: held.Rate, Below: held.Rate < sender.Min})
			c.Order = held.Newest
			out = append(out, c)
		}
	}
	return out
}

// nodesOf are the nodes on which something changes.
func nodesOf(changes []actuate.Change, s *inventory.Snapshot) map[string]bool {
	nodes := map[string]bool{}
	for _, c := range changes {
		nodes[find(s, c.Pod).Node] = true
	}
	return nodes
}
