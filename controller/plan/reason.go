package plan

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Action is what a law decided for one bottleneck.
type Action string

// The actions.
const (
	Hold    Action = "hold"
	Cut     Action = "cut"
	Grow    Action = "grow"
	Restore Action = "restore" // cuts did not help: limits go back up
)

// Cause says why, in a fixed vocabulary that metrics may use as a label.
type Cause string

// The causes.
const (
	Violation     Cause = "violation"      // a target is exceeded
	Confirming    Cause = "confirming"     // exceeded once; waiting for a second look
	AwaitEffect   Cause = "await-effect"   // a cut is on its way
	Calm          Cause = "calm"           // well below the target
	Unused        Cause = "unused"         // the limits are not what holds the senders back
	NearTarget    Cause = "near-target"    // between calm and violation
	Blind         Cause = "blind"          // not enough samples
	Unresponsive  Cause = "unresponsive"   // cuts did not move the signal: cause is elsewhere
	NotNetwork    Cause = "not-network"    // late, while the agent beside it is not: its host or process
	AtFloor       Cause = "at-floor"       // nothing left to take
	NotThrottling Cause = "not-throttling" // nobody to throttle here
)

// Reason explains one bottleneck's decision.
type Reason struct {
	Bottleneck string // "node/worker-1", "cluster"
	Action     Action
	Cause      Cause
	App        PodID         // the workload that decided; zero if none
	Signal     string        // "jitter", "latency", "loss"
	Measured   time.Duration // of Signal; for loss, Ratio holds
	Target     time.Duration
	Ratio      float64 // measured loss, 0…1
	Samples    int     // behind Measured
	Usage      bitrate.Rate
	From, To   bitrate.Rate // the bottleneck's budget before and after
	// Feedback is the delay from patch to effect the law reckoned with.
	Feedback time.Duration
}
