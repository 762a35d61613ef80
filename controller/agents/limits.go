package agents

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/workload"
)

// Limit is the egress limit of one pod, for the agent on its node.
type Limit struct {
	UID      types.UID
	Egress   bitrate.Rate // 0: nothing was decided in this term, what is in force stays
	Sequence uint64       // of the decision in its term
}

// Pace is how often agents are to report.
type Pace struct {
	Calm  time.Duration      // between reports of those that see nothing worth telling; 0: as always
	Busy  map[types.UID]bool // who reports as always for all that
	Least time.Duration      // between any two reports of one agent, whatever it sees; 0: as always
	// Strained: Least is that long because more comes than is read in time.
	Strained bool
	Soft     float64 // share of what is allowed above which lateness is worth a decision
}

// Pace has agents report at another pace.
func (p *Pool) Pace(pace Pace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.pace
	p.pace = pace
	p.strained.Store(pace.Strained)
	for uid, l := range p.byUID {
		if was.Calm != pace.Calm || was.Least != pace.Least || was.Busy[uid] != pace.Busy[uid] {
			p.push(l)
		}
	}
}

// Reports is how many reports were received so far.
func (p *Pool) Reports() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reports
}

// Limit says what the leader of term has decided about the pods of a node: all of
// those that it may limit. It goes down the stream at once, and again at the
// beginning of each stream; agents that enforce nothing are not told.
func (p *Pool) Limit(term uint64, node string, pods []Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if says(p.limits[node], term, pods) {
		return
	}
	said := &api.Limits{Term: term, Pods: make([]*api.PodLimit, len(pods))}
	for i, l := range pods {
		said.Pods[i] = &api.PodLimit{Uid: string(l.UID), EgressBps: uint64(l.Egress), Sequence: l.Sequence}
	}
	p.limits[node] = said
	for _, l := range p.byNode[node] {
		if l.takes {
			p.push(l)
		}
	}
}

// says reports whether that is what was said. Reflection would take longer than a tick may, for thousands of agents.
func says(said *api.Limits, term uint64, pods []Limit) bool {
	return said != nil && said.Term == term && slices.EqualFunc(said.Pods, pods, func(a *api.PodLimit, b Limit) bool {
		return a.Uid == string(b.UID) && a.EgressBps == uint64(b.Egress) && a.Sequence == b.Sequence
	})
}

// Taken reports whether an agent enforces what it is told, and has a stream.
func (p *Pool) Taken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.byUID {
		if l.takes {
			return true
		}
	}
	return false
}

// Held is the limit that an agent says is in force on a pod.
type Held struct {
	Rate bitrate.Rate // 0: none
	// Newest is the decision that Rate came from, or the last one before somebody
	// changed the annotation.
	Newest workload.Order
	At     time.Time // of the report
}

func heldOf(r *api.PodRate, now time.Time) Held {
	return Held{
		Rate:   bitrate.Rate(min(r.GetEgressLimitBps(), uint64(bitrate.Max))),
		Newest: workload.Order{Term: r.GetLimitTerm(), Sequence: r.GetLimitSequence()},
		At:     now,
	}
}

// takes notes that an agent enforces what it is told. The pool's lock is held.
func (p *Pool) takes(from inventory.Agent) {
	if l := p.byUID[from.UID]; l != nil && l.agent == from && !l.takes {
		l.takes = true
		p.push(l)
	}
}
