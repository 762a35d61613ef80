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
	CannotMeet    Cause = "cannot-meet"    // the path shows more than the target when nobody sends
	TooCostly     Cause = "too-costly"     // the app's trouble has cost the others what it may
	NotNetwork    Cause = "not-network"    // late, while the agent beside it is not: its host or process
	AtFloor       Cause = "at-floor"       // nothing left to take
	NotThrottling Cause = "not-throttling" // nobody to throttle here
)

// Signal is what of a workload was measured.
type Signal string

// The signals.
const (
	Jitter  Signal = "jitter"
	Latency Signal = "latency"
	Loss    Signal = "loss"
)

// Phase is where the control of one bottleneck stands; docs/control-law.md has
// the table of how one follows another. Laws without phases leave it empty.
type Phase string

// The phases.
const (
	Open      Phase = "open"      // nothing is known of the capacity: the limits in force are the budget
	Doubting  Phase = "doubting"  // only some packets are late; a second look decides
	Cutting   Phase = "cutting"   // a cut is asked for and cannot have shown yet
	Testing   Phase = "testing"   // a cut shows whether a delay belongs to the path
	Draining  Phase = "draining"  // a cut is in force and the queue leaves
	Settled   Phase = "settled"   // the budget is what fits through
	Exploring Phase = "exploring" // the budget is what the queue left at, below an upper bound
	Trying    Phase = "trying"    // a raise for more than is known to fit is out
	Released  Phase = "released"  // cuts did not help, and the limits are as before
)

// Phases lists them.
func Phases() []Phase {
	return []Phase{Open, Doubting, Cutting, Testing, Draining, Settled, Exploring, Trying, Released}
}

// Reason explains one bottleneck's decision.
type Reason struct {
	Bottleneck Bottleneck
	Phase      Phase
	Action     Action
	Cause      Cause
	App        PodID // the workload that decided; zero if none
	Signal     Signal
	Measured   time.Duration // of Signal; for loss, Ratio holds
	Target     time.Duration
	Ratio      float64 // measured loss, 0…1
	Samples    int     // behind Measured
	Usage      bitrate.Rate
	From, To   bitrate.Rate // the bottleneck's budget before and after
	Charge
	// Feedback is the delay from patch to effect the law reckoned with.
	Feedback time.Duration
}

// Trouble reports whether nobody behind the bottleneck is to be raised.
func (r *Reason) Trouble() bool {
	if r.Action == Restore || r.Action == Grow {
		return false
	}
	switch r.Cause {
	case Violation, Confirming, AwaitEffect, Blind, AtFloor, Unresponsive, TooCostly, NotNetwork:
		return true
	}
	return false
}

// Charge says on whose account less is let through than the senders used.
type Charge struct {
	For   PodID        // zero if nobody's
	Since time.Time    // of the first cut
	Taken bitrate.Rate // what they used, less what is let through
}
