// Package plan is the vocabulary between what is observed and what is done: an
// Observation goes into a law, a Plan with its Reasons comes out. The loop, the
// simulator, the metrics, the status page and "detnet explain" all show these
// same values. It depends on the standard library and detnet's own units only.
package plan

import (
	"sort"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// PodID names a pod.
type PodID struct{ Namespace, Name string }

func (p PodID) String() string { return p.Namespace + "/" + p.Name }

// Compare orders pods by namespace and name.
func (p PodID) Compare(q PodID) int {
	switch {
	case p == q:
		return 0
	case p.Namespace < q.Namespace, p.Namespace == q.Namespace && p.Name < q.Name:
		return -1
	}
	return 1
}

// Observation is everything a law may know at one instant.
type Observation struct {
	At      time.Time // the law's only clock
	Apps    []App     // critical workloads, in the order of their PodID
	Senders []Sender  // throttleable pods, in the order of their PodID
	Told    []Told    // what is said of uplinks, in the order of their nodes
	InOrder bool      `json:"-"` // Apps and Senders are known to be, and need not be looked through for that
}

// Told is what others say of a node's uplink. It is where to begin, and never the
// truth: whoever said it may be wrong by any factor.
type Told struct {
	Node string
	// Found is what the throttleable pods had together there while the uplink was full
	// and all was well, by a leader before or long ago; 0: nobody says.
	Found bitrate.Rate
	// Rate is the most that the link carries, by an administrator or its driver; 0: nobody
	// says.
	Rate bitrate.Rate
}

// Elsewhere is what counts of a cluster for some of its uplinks, where an Observation
// shows no more than what is behind them.
type Elsewhere struct {
	// Sending are other uplinks by which somebody sends: those that an app may blame, and
	// one more if there is any.
	Sending []Bottleneck `json:"sending,omitempty"`
	// Delays are the newest from patch to effect, of all senders.
	Delays []time.Duration `json:"delays,omitempty"`
	// Afar are the apps that are late because the nodes they are measured from are, towards
	// others as well.
	Afar []PodID `json:"afar,omitempty"`
	// Unsure are the apps for whom everybody would have to be cut, and is not to be yet.
	Unsure []PodID `json:"unsure,omitempty"`
	// Turns is how many limits may begin to be low now (senders.Flush).
	Turns int `json:"turns,omitempty"`
}

// App is one critical pod and what was measured of it.
type App struct {
	Pod      PodID
	Node     string
	Rank     int // importance among critical workloads, higher first
	Protocol workload.Protocol
	SLO      workload.SLO
	// NodeReflects: the agent on the pod's node answers the probes, behind the same
	// uplink, because the pod can't. Then Sessions are node sessions themselves.
	NodeReflects bool      `json:",omitempty"`
	Sessions     []Session // one per vantage point
	// NodeSessions are the same paths, from the same vantage points, to the probe
	// agent on the app's node, without the time that its reflector held each
	// packet: what delays an App and not its node session is not the network. There
	// is none where no agent runs beside the app.
	NodeSessions []Session
}

// Session is one measured path to an App.
type Session struct {
	ID      string
	Vantage string   // node of the session-sender
	Samples []Sample // the recent past, oldest first
	Base    Base     // what its delays are compared with
	// Lossless says that none of the samples is lost: they need not be looked through. Else one may be.
	Lossless bool `json:"-"`
	// Lag is how long a change of the network may take to show in a sample,
	// beyond its RTT: 0 for packets, the query's range and the scrape interval
	// for a PromQL source.
	Lag time.Duration
	// Pause is how much longer than else nothing new may come of it: who measures it was
	// asked to report less often while all is calm, and at once what is not.
	Pause time.Duration `json:",omitempty"`
}

// Base is the delay of an empty path, as far as it is known.
type Base struct {
	Delay time.Duration // least round trip; 0 before the first
	Known bool          // else a queue may have stood there ever since
	// Idle is the 90th percentile above Delay that the path shows where nobody who may be
	// limited sends, or less of it does not help; 0 while nothing is known of that.
	Idle time.Duration
	// Forward and Back are the least one-way delays, clock offset included.
	Forward, Back time.Duration
}

// Sample is one probe packet.
type Sample struct {
	At   Instant       // when it was sent, on the observer's clock
	RTT  time.Duration // 0 if Lost
	Lost bool
	// HasOneWay says whether the reflector gave the timestamps that Forward and Backward come of.
	HasOneWay bool
	// Forward is the one-way delay there, with the unknown clock offset still in it: only its
	// variation means something.
	Forward time.Duration
}

// FirstAt is the place of the first of samples that was sent at a time or later. They are sent at about even
// intervals, so it is looked for around where it would be then: of many samples few are touched.
func FirstAt(samples []Sample, at Instant) int {
	before := func(i int) bool { return samples[i].At.Compare(at) < 0 }
	low, high := 0, len(samples)-1
	switch {
	case high < 0 || before(high):
		return high + 1
	case !before(low):
		return low
	}
	oldest := samples[low].At
	guess := int(float64(high) * (float64(at.Sub(oldest)) / float64(samples[high].At.Sub(oldest))))
	for step := 1; ; step *= 2 { // low stays before at, and high does not
		from, to := max(guess-step, low), min(guess+step, high)
		if (from == low || before(from)) && (to == high || !before(to)) {
			return from + 1 + sort.Search(to-from-1, func(i int) bool { return !before(from + 1 + i) })
		}
	}
}

// Backward is the one-way delay back, with the unknown clock offset in it: what the round
// trip takes besides, without the time that the reflector held the packet (RFC 8762).
func (s *Sample) Backward() time.Duration { return s.RTT - s.Forward }

// Sender is one throttleable pod.
type Sender struct {
	Pod      PodID
	Node     string
	Rank     int // lowest is cut first
	Weight   int
	Min, Max bitrate.Rate
	Limit    bitrate.Rate // in force, as the pod's annotation says; 0 = none
	Limiter  Limiter      `json:",omitempty"`
	Rates    []TxRate     // recent sub-windows of about 100 ms, oldest first
	// Pause is that of a Session, of its node's agent.
	Pause time.Duration `json:",omitempty"`
}

// TxRate is a pod's transmit rate over the sub-window that ended at At. Where
// the counter sits before the limiter it may exceed Limit.
type TxRate struct {
	At Instant
	Tx bitrate.Rate
	// Out is what left the node by its uplinks meanwhile, of whomever; 0: not known.
	Out bitrate.Rate `json:",omitempty"`
}

// Plan is what a law wants done, and why.
type Plan struct {
	At      time.Time
	Limits  []Limit  // changes only, in the order of their PodID
	Reasons []Reason // one per bottleneck, also where nothing changes
	// Empty are apps whose paths were seen empty, by cutting who sends or because
	// nobody does: the least delay seen of them is that of the path.
	Empty []PodID
	// Idle are apps that cuts did not help, while their paths were empty now and then:
	// how late they are is what the paths show by themselves.
	Idle []Idle
}

// Idle is the 90th percentile of an app's delay above base that limits do not change.
type Idle struct {
	App   PodID
	Delay time.Duration
}

// Limit asks for one pod's egress limit to be changed.
type Limit struct {
	Pod      PodID
	From, To bitrate.Rate
	// Below says that the pod's floor does not hold: floors come to more than there
	// is, or what waits behind the limit has to leave before it is changed.
	Below bool `json:",omitempty"`
	// ToLow says that the limit is to be low for a moment only, until what waits behind
	// it is gone: it is not worth being written late. FromLow says that this ends such a
	// moment: it waits for no other raise.
	ToLow   bool `json:",omitempty"`
	FromLow bool `json:",omitempty"`
	// Tried says that the limit is undone at the first sign of a queue, or followed by another
	// soon: where an agent is told of it, it is not worth being written at all.
	Tried bool `json:",omitempty"`
	// Reason indexes Plan.Reasons.
	Reason int
}

// Urgent reports whether the change takes bandwidth away: such writes go first.
func (l Limit) Urgent() bool { return l.From == 0 || l.To < l.From }
