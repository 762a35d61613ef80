// Package status is the one value that the status page, the metrics, "detnet
// top" and "detnet explain" show: what was measured, what is in force and why.
// GET /status serves it as JSON, or the part that a Query asks for. Times are RFC 3339, durations milliseconds,
// rates bits per second, ratios 0…1.
package status

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Status is the controller's view at one instant.
type Status struct {
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Replica  string    `json:"replica"`
	Leader   bool      `json:"leader"` // a standby shows no more than this
	Mode     string    `json:"mode"`
	Law      string    `json:"law"`
	Apps     []App     `json:"apps"`
	Senders  []Sender  `json:"senders"`
	Reasons  []Reason  `json:"reasons"` // the present one of each bottleneck
	Agents   []Agent   `json:"agents"`
	Problems []Problem `json:"problems"`
	// Unstamped counts the pods without stamps that admission has signed; of
	// many, Problems names some. GivingBack counts the limits that are still to
	// be given back where detnet does not enforce any more.
	Unstamped     int           `json:"unstamped"`
	GivingBack    int           `json:"giving_back"`
	WritesWaiting WritesWaiting `json:"writes_waiting"`
	// Enforcing is what enforcing would change; nil where nothing is observed.
	Enforcing *Enforcing `json:"enforcing,omitempty"`
	// Decisions are the recent changes of mind or limit, newest first.
	Decisions []Decision `json:"decisions"`
	// Totals and Troubles are there where only a part was asked for; see Query.
	Totals   *Totals   `json:"totals,omitempty"`
	Troubles *Troubles `json:"troubles,omitempty"`
	// NoNode and NoNamespace are there where a Query asked for a node, or a namespace, of
	// which nothing is known: what there is in its place. An empty part would say that all is well.
	NoNode      *Names `json:"no_node,omitempty"`
	NoNamespace *Names `json:"no_namespace,omitempty"`
}

// WritesWaiting are the limits that have yet to be written: cuts that nothing else
// enforces, and raises and records.
type WritesWaiting struct {
	Cuts      int     `json:"cuts"`
	Others    int     `json:"others"`
	LongestMs float64 `json:"longest_ms"` // that one of them has waited
}

// Enforcing is what would change if pods that are only observed were enforced
// upon, now.
type Enforcing struct {
	Apps       int          `json:"apps"`        // critical pods that would be protected
	Senders    int          `json:"senders"`     // pods that could be limited
	UsageBps   bitrate.Rate `json:"usage_bps"`   // what those send
	Unlimited  int          `json:"unlimited"`   // of them, have no limit and would begin with one
	InitialBps bitrate.Rate `json:"initial_bps"` // those limits together
	Cuts       int          `json:"cuts"`        // limits that would be cut at this moment
	Unstamped  int          `json:"unstamped"`   // pods that would have to be stamped first
}

// App is a critical pod.
type App struct {
	Pod      string   `json:"pod"` // namespace/name
	Node     string   `json:"node"`
	Rank     int      `json:"rank"`
	Mode     string   `json:"mode"`
	Probe    string   `json:"probe"`
	DSCP     string   `json:"dscp"`            // of the probes: a name or a number
	Query    string   `json:"query,omitempty"` // what Prometheus is asked, for that probe
	State    string   `json:"state"`           // ok, violated or blind
	Target   Measures `json:"target"`          // 0: not asked for
	Measured Measures `json:"measured"`
	// ViolationRatio is the share of the probes of the last 5 s that broke a
	// target; lost ones count.
	ViolationRatio float64 `json:"violation_ratio"`
	// IdleMs is the 90th percentile above base that its paths show when nobody sends who
	// may be limited, where that is more than its target leaves: it cannot be met.
	IdleMs   float64   `json:"idle_ms,omitempty"`
	Sessions []Session `json:"sessions"`
	// Nobody says why there are no sessions.
	Nobody string `json:"nobody,omitempty"`
}

// States of an App.
const (
	OK       = "ok"
	Violated = "violated"
	Blind    = "blind"
)

// Measures are the three things a workload can ask of the network, as sense judges
// them: the 90th percentile of delay variation (PDV, RFC 5481) and of the round trip
// of the newest samples, and the loss over the last two seconds. Of several sessions
// that of the worst.
type Measures struct {
	JitterMs  float64 `json:"jitter_ms"`
	LatencyMs float64 `json:"latency_ms"`
	Loss      float64 `json:"loss"`
}

// Session is one measured path to an App.
type Session struct {
	ID       string   `json:"id"`
	From     string   `json:"from"`             // node, or Prometheus
	LagMs    float64  `json:"lag_ms,omitempty"` // how late a change shows, beyond the delay itself
	BaseMs   float64  `json:"base_ms"`
	Measured Measures `json:"measured"`
	Samples  int      `json:"samples"` // that it was judged by
	Blind    bool     `json:"blind"`
	Error    string   `json:"error,omitempty"` // why nothing is measured
	// NodeSession is the same path as far as the agent on the App's node: delay
	// that it does not see is not the network's.
	NodeSession *Session `json:"node_session,omitempty"`
}

// Sender is a throttleable pod.
type Sender struct {
	Pod      string       `json:"pod"`
	Node     string       `json:"node"`
	Rank     int          `json:"rank"`
	Weight   int          `json:"weight"`
	Mode     string       `json:"mode"`
	MinBps   bitrate.Rate `json:"min_bps"`
	MaxBps   bitrate.Rate `json:"max_bps"`
	LimitBps bitrate.Rate `json:"limit_bps"` // 0: none in force
	UsageBps bitrate.Rate `json:"usage_bps"` // mean of the last second
	Known    bool         `json:"known"`     // an agent reports its usage
	// Refused is why the API server does not let its limit be changed: it is
	// not throttled, and what it sends is not controlled.
	Refused string `json:"refused,omitempty"`
	// OverLimit says, where Cilium limits, that the pod sends more than its limit and
	// does not slow down, what comes of that and what helps.
	OverLimit string `json:"over_limit,omitempty"`
}

// Reason is plan.Reason in JSON's units.
type Reason struct {
	// Bottleneck is "node/" and a node's name, or "cluster".
	Bottleneck plan.Bottleneck `json:"bottleneck"`
	Phase      plan.Phase      `json:"phase,omitempty"` // where its control stands; of adaptive
	Action     plan.Action     `json:"action"`
	Cause      plan.Cause      `json:"cause"`
	Observed   bool            `json:"observed,omitempty"` // decided, not written: observe mode
	App        string          `json:"app,omitempty"`
	Signal     plan.Signal     `json:"signal,omitempty"`
	MeasuredMs float64         `json:"measured_ms"`
	TargetMs   float64         `json:"target_ms"`
	Ratio      float64         `json:"ratio"`
	Samples    int             `json:"samples"`
	UsageBps   bitrate.Rate    `json:"usage_bps"`
	FromBps    bitrate.Rate    `json:"from_bps"` // budget before
	ToBps      bitrate.Rate    `json:"to_bps"`   // and after
	FeedbackMs float64         `json:"feedback_ms"`
	// For is the workload on whose account TakenBps less is let through than was
	// sent, since Since.
	For      string       `json:"for,omitempty"`
	Since    time.Time    `json:"since,omitzero"`
	TakenBps bitrate.Rate `json:"taken_bps,omitempty"`
}

// Decision is a Reason that began at At, with the limits it changed.
type Decision struct {
	At time.Time `json:"at"`
	Reason
	Limits []Limit `json:"limits,omitempty"`
}

// Limit is one pod's change.
type Limit struct {
	Pod     string       `json:"pod"`
	FromBps bitrate.Rate `json:"from_bps"`
	ToBps   bitrate.Rate `json:"to_bps"`
}

// Agent is one agent and whether it reports.
type Agent struct {
	Pod       string `json:"pod"`
	Node      string `json:"node"`
	Role      string `json:"role"`
	Connected bool   `json:"connected"` // it reports
	// Since is when that began, to report or not to; Why is why it does not.
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
	// Refused is how often its stream was ended because it reported more than its
	// sessions and pods can take.
	Refused int64 `json:"refused,omitempty"`
	// Uplinks are the interfaces with a default route, of agents of role node.
	Uplinks []Uplink `json:"uplinks,omitempty"`
}

// Uplink is what a node's packets leave by.
type Uplink struct {
	Interface string       `json:"interface"`
	Queue     string       `json:"queue"`               // kind of its queueing discipline, such as fq or mq/fq
	SpeedBps  bitrate.Rate `json:"speed_bps,omitempty"` // as the driver says; 0: it does not
}

// Problem is something that could not be read, or a pod that slipped past the
// webhook.
type Problem struct {
	Object    string `json:"object"`
	Text      string `json:"text"`
	Unstamped bool   `json:"unstamped,omitempty"`
}

// FromReason converts r.
func FromReason(r plan.Reason) Reason {
	out := Reason{
		Bottleneck: r.Bottleneck, Phase: r.Phase, Action: r.Action, Cause: r.Cause, Signal: r.Signal,
		MeasuredMs: Milliseconds(r.Measured), TargetMs: Milliseconds(r.Target),
		Ratio: r.Ratio, Samples: r.Samples, UsageBps: r.Usage,
		FromBps: r.From, ToBps: r.To, FeedbackMs: Milliseconds(r.Feedback),
	}
	if r.App != (plan.PodID{}) {
		out.App = r.App.String()
	}
	if r.For != (plan.PodID{}) {
		out.For, out.Since, out.TakenBps = r.For.String(), r.Since, r.Taken
	}
	return out
}

// Milliseconds is d in ms.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
