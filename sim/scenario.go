package sim

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim/score"
	"github.com/detnet/detnet/workload"
)

// Scenario is a closed-loop world: machines with queues, critical apps that are
// probed, pods that send, and what happens to them in time.
type Scenario struct {
	Name    string
	About   string
	Length  time.Duration
	Nodes   []NodeSpec
	Apps    []AppSpec
	Senders []SenderSpec
	Told    []plan.Told // what the law is told of uplinks, true or not
	Events  []Event

	Propagation  time.Duration    // one way, without queues
	Loop         time.Duration    // between steps of the law
	PatchDelay   [2]time.Duration // from plan to effect, uniform
	ReportDelay  time.Duration    // from measurement to controller
	ProbeLoss    float64
	Reorder      float64 // share of probes that others overtake, by half a millisecond
	Noise        Noise
	Limiter      plan.Limiter // that holds senders to their limits; empty: plan.TokenBucket
	CountBefore  bool         // tx counters sit before the limiter, as they do with EDT
	Headroom     float64      // of a limit: what the limiter lets pass; 0: 1
	Echo         bool         // probes are plain echoes: no one-way delay
	NodeSessions bool         // agents beside the apps answer on the same paths
	OwnQueue     bool         // the queues are those of the nodes, whose counters are behind them

	// Query says that nobody probes: what is known of an app is a query of its
	// own metrics.
	Query Query

	Onset time.Duration // when congestion begins; violations count from here
	End   time.Duration // when it ends; 0: at the end
	// Elsewhere says that the delay does not come from the senders: what
	// counts is what a law takes from them in vain.
	Elsewhere bool
	// Segment is the bytes that traffic comes in; 0: 3000. Larger ones make a fast
	// link cheap to play, as segmentation offload does on a real one.
	Segment int
	Bar     score.Bar // for adaptive
}

// Query is the 95th percentile of an app's delays over Range, of metrics that
// are scraped and a query that is asked now and then. The zero value is none.
type Query struct{ Range, Scrape, Every time.Duration }

// Limiters are those that worlds can have.
func Limiters() []plan.Limiter {
	return []plan.Limiter{plan.TokenBucket, plan.EDT, plan.EDTHostRouting}
}

// NodeSpec is a machine with a shaped uplink and, if Down is not 0, downlink.
type NodeSpec struct {
	Name       string
	Up         bitrate.Rate
	Queue      int // bytes
	Down       bitrate.Rate
	Burst      int              // bytes that the uplink lets pass at once after a pause; 0: none
	Discipline Discipline       // of the uplink
	Hold       [2]time.Duration // of an AQM: the delays at which it begins, and ceases, to let packets pass
}

// AppSpec is a critical app and the nodes that it is probed from.
type AppSpec struct {
	Name     string
	Node     string
	Rank     int
	Protocol workload.Protocol
	SLO      workload.SLO
	From     []string
}

// SenderKind is how a pod sends.
type SenderKind string

// The kinds.
const (
	UDP SenderKind = "udp" // inelastic: sends what it offers
	TCP SenderKind = "tcp" // elastic: CUBIC-like flows, greedy
)

// SenderSpec is a pod that sends to another node.
type SenderSpec struct {
	Name, Node, To string
	Kind           SenderKind
	Flows          int // at most 32; 0: 1
	Offered        bitrate.Rate
	Initial        bitrate.Rate // its limit at the start
	Weight, Rank   int
	Min            bitrate.Rate // the lowest limit it may have; 0: 10 Mbit/s
	Uncontrolled   bool         // no detnet limit: cross traffic
	Critical       bool         // it is a critical app's own: Uncontrolled, and known to be there
	Max            bitrate.Rate // the highest limit it may have; 0: 1 Gbit/s
	Transfers      Transfers
}

// Transfers says that a pod sends transfers of Size bytes on average, one each
// Every on average, instead of without end. The zero value is without end.
type Transfers struct {
	Every time.Duration
	Size  int
}

// Event changes the world at a time. Fields that are zero stay as they are.
type Event struct {
	At       time.Duration
	Node     string       // whose
	Capacity bitrate.Rate // is the uplink's from now on
	Senders  []string     // that change to Offered
	Offered  bitrate.Rate
	CPU      float64 // share of probes that the target's scheduler delays
	CPUSet   bool
	Probing  Switch
	Noise    Noise // from now on, if not zero
	Restart  bool  // the controller forgets everything but the limits
	Frees    bool  // capacity becomes usable: recovery is measured from here

	Down  bitrate.Rate  // the downlink of Node has from now on
	Stall time.Duration // the controller does nothing for so long

	// Vantage's host or clock adds Lie to every round trip that it reports.
	Vantage string
	Lie     time.Duration
	LieSet  bool

	// Route is how much longer the path of probes is from now on: to the apps, and back.
	Route    [2]time.Duration
	RouteSet bool
}

// Uplink is the capacity of a node's uplink at a time, and what critical apps are
// offered to send over it themselves.
func (s Scenario) Uplink(node string, at time.Duration) (rate, critical bitrate.Rate) {
	for _, n := range s.Nodes {
		if n.Name == node {
			rate = n.Up
		}
	}
	own := map[string]bitrate.Rate{}
	for _, x := range s.Senders {
		if x.Critical && x.Node == node {
			own[x.Name] = x.Offered
		}
	}
	for _, e := range s.Events {
		if e.At > at {
			continue
		}
		if e.Node == node && e.Capacity > 0 {
			rate = e.Capacity
		}
		for _, name := range e.Senders {
			if _, critical := own[name]; critical {
				own[name] = e.Offered
			}
		}
	}
	for _, sent := range own {
		critical += sent
	}
	return cmp.Or(rate, bitrate.Gbit), critical
}

// Switch is on, off or as it is.
type Switch int

// The positions.
const (
	Keep Switch = iota
	On
	Off
)

// Noise is what user space adds to a round trip: a body of small delays and a
// rare long one.
type Noise struct {
	Body time.Duration // mean, exponential
	Rare float64       // share of probes
	Tail time.Duration // mean of the rare ones
}

// worldDefaults fills in what the scenarios have in common. The figures are
// those of three real nodes on a two-core machine.
func worldDefaults(s Scenario) Scenario {
	if s.Propagation == 0 {
		s.Propagation = 100 * time.Microsecond
	}
	if s.Loop == 0 {
		s.Loop = 100 * time.Millisecond
	}
	if s.PatchDelay[1] == 0 {
		s.PatchDelay = [2]time.Duration{50 * time.Millisecond, 150 * time.Millisecond}
	}
	if s.ReportDelay == 0 {
		s.ReportDelay = 20 * time.Millisecond
	}
	if s.Noise == (Noise{}) {
		s.Noise = Noise{Body: 50 * time.Microsecond, Rare: 0.01, Tail: 300 * time.Microsecond}
	}
	if s.Limiter.Departures() {
		s.CountBefore = true // it sits at the node's uplink, the counter at the pod's interface
	}
	if s.Headroom == 0 {
		s.Headroom = 1
	}
	if s.Segment == 0 {
		s.Segment = defaultSegment
	}
	if s.End == 0 {
		s.End = s.Length
	}
	return s
}
