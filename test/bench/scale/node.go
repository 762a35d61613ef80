package main

import (
	"sync"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/workload"
)

// What a node's uplink is, and what its pods send.
const (
	maxPods  = 60
	capacity = 200e6 // bit/s
	buffer   = 8e6   // bits, at most, that wait
	calm     = 5e6   // bit/s that a pod offers
	target   = time.Millisecond
	// clean is how long no packet may be late for the node to be.
	clean = time.Second
	// patchDelay is from an annotation's change to its effect, where the CNI follows it.
	patchDelay = 100 * time.Millisecond
)

// pod is one that is throttled.
type pod struct {
	name, uid string
	offered   float64
	limit     float64
	held      limits.Held
	record    limits.Record
	sent      float64 // bits, since rates was last asked
}

// node is one uplink: a fluid queue, a limiter a pod.
type node struct {
	index int

	mu     sync.Mutex
	pods   []pod
	queue  float64   // bits that wait
	left   float64   // bits that left by the uplink, since rates was last asked
	at     time.Time // of the last step
	rated  time.Time // up to when rates has told
	ledger limits.Ledger

	// Since the onset of congestion; zero: not yet.
	onset, firstCut, lastLate time.Time
	before                    float64 // what its pods sent at the onset
}

func (n *node) sending() (sum float64) {
	for i := range n.pods {
		sum += min(n.pods[i].offered, n.pods[i].limit)
	}
	return sum
}

// step moves the queue on by dt.
func (n *node) step(now time.Time, dt time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	came := n.queue + n.sending()*dt.Seconds()
	leaves := min(came, capacity*dt.Seconds())
	n.at, n.queue, n.left = now, min(came-leaves, buffer), n.left+leaves
	for i := range n.pods {
		p := &n.pods[i]
		p.sent += min(p.offered, p.limit) * dt.Seconds()
	}
	if !n.onset.IsZero() && n.wait() > target {
		n.lastLate = now
	}
}

func (n *node) wait() time.Duration { return time.Duration(n.queue / capacity * 1e9) }

func (n *node) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wait()
}

// congest has every pod offer so much from now on.
func (n *node) congest(offered float64, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.pods {
		n.pods[i].offered = offered
	}
	n.onset, n.firstCut, n.lastLate, n.before = now, time.Time{}, time.Time{}, n.sending()
}

// cut notes when less came to the uplink than leaves it for the first time: a cut of which its queue does not
// leave has no effect.
func (n *node) cut(now time.Time) {
	if !n.onset.IsZero() && n.firstCut.IsZero() && n.sending() < capacity {
		n.firstCut = now
	}
}

// said merges what the leader said over the stream into what is in force.
func (n *node) said(l *api.Limits, now time.Time) error {
	if err := n.ledger.Take(l, now); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.pods {
		p := &n.pods[i]
		d, listed, known := n.ledger.Of(p.uid)
		switch {
		case known && !listed:
			p.held, _ = p.held.Follow(p.record) // what can't be read changes nothing
		case !d.Order.IsZero():
			p.held = p.held.Decide(d.Order, d.Rate)
		}
		p.enforce()
	}
	n.cut(now)
	return nil
}

// annotated takes a pod's annotations into account.
func (n *node) annotated(i int, r limits.Record, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &n.pods[i]
	p.record = r
	p.held, _ = p.held.Record(r) // likewise
	p.enforce()
	n.cut(now)
}

func (p *pod) enforce() {
	if p.limit = float64(p.held.Rate); p.limit == 0 {
		p.limit = 1e12
	}
}

// rates is what the node's agent has counted since it was last asked: a busy machine may be late
// to ask, and what is sent by then says nothing of what was.
func (n *node) rates(takes bool) []wire.Rate {
	n.mu.Lock()
	defer n.mu.Unlock()
	took := n.at.Sub(n.rated)
	if took <= 0 {
		return nil
	}
	n.rated = n.at
	out, left := make([]wire.Rate, len(n.pods)), uint64(n.left/took.Seconds())
	n.left = 0
	for i := range n.pods {
		p := &n.pods[i]
		out[i] = wire.Rate{Pod: wire.Pod{Namespace: namespace, Name: p.name, UID: p.uid}, At: n.at, Tx: uint64(p.sent / took.Seconds()), Out: left}
		p.sent = 0
		if takes {
			out[i].Limit, out[i].Term, out[i].Sequence = uint64(p.held.Rate), p.held.Newest.Term, p.held.Newest.Sequence
		}
	}
	return out
}

// inFull is for a controller that reads nothing else.
func inFull(rates []wire.Rate) []*api.PodRate {
	out := make([]*api.PodRate, len(rates))
	for i, r := range rates {
		out[i] = &api.PodRate{
			Namespace: r.Namespace, Name: r.Name, Uid: r.UID, WindowNs: 100e6, TxBps: r.Tx,
			EgressLimitBps: r.Limit, LimitTerm: r.Term, LimitSequence: r.Sequence,
		}
	}
	return out
}

func recordOf(annotations map[string]string) limits.Record {
	return limits.Record{Egress: annotations[workload.AnnotationEgressBandwidth], Decision: annotations[workload.AnnotationLimitDecision]}
}
