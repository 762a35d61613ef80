// Package budget keeps what the senders behind one bottleneck may use together: a
// state machine with named phases, docs/control-law.md has their table.
package budget

import (
	"encoding/json"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Config tunes the budgets.
type Config struct {
	// Drain is the time in which a cut is to empty the standing queue. It
	// sets the depth of a cut.
	Drain time.Duration `yaml:"drain"`
	// MinCut is the least share of the usage that a cut takes.
	MinCut float64 `yaml:"minCut"`
	// MaxCut is the largest share of the usage that a first cut takes.
	MaxCut float64 `yaml:"maxCut"`
	// Settle is the share of the learned capacity given out once the queue
	// is empty.
	Settle float64 `yaml:"settle"`
	// Fruitless is the number of cuts in a row without effect after which
	// the next candidate is tried or the limits are restored.
	Fruitless int `yaml:"fruitless"`
	// Feedback is the delay from patch to effect assumed until it has been
	// measured.
	Feedback time.Duration `yaml:"feedback"`
	// RaiseEvery is the least time between raises.
	RaiseEvery time.Duration `yaml:"raiseEvery"`
	// RaiseStep is the first step of a try for more capacity; steps double while
	// they succeed.
	RaiseStep float64 `yaml:"raiseStep"`
	// MaxRaise is the largest step.
	MaxRaise float64 `yaml:"maxRaise"`
	// ProbeEvery is the time between such tries once capacity is known, doubling
	// while it proves to be unchanged.
	ProbeEvery time.Duration `yaml:"probeEvery"`
	// MaxProbeEvery bounds that.
	MaxProbeEvery time.Duration `yaml:"maxProbeEvery"`
}

// Budget is the memory of one bottleneck.
type Budget struct {
	Bottleneck plan.Bottleneck
	Total      bitrate.Rate // what the senders behind it may use together
	Phase      plan.Phase
	Link       Link
	Trouble    Trouble
	Search     Search
}

// Key is the bottleneck.
func (b Budget) Key() plan.Bottleneck { return b.Bottleneck }

// UnmarshalJSON also reads a budget that was kept before Overbooked belonged to Search.
func (b *Budget) UnmarshalJSON(text []byte) error {
	type plain Budget
	if err := json.Unmarshal(text, (*plain)(b)); err != nil {
		return err
	}
	return json.Unmarshal(text, &struct{ Overbooked *Overbooking }{&b.Search.Overbooked})
}

// Trouble is what is remembered only while there is some, and for the second
// after that it takes to be sure.
type Trouble struct {
	Before    Before
	Resume    plan.Phase // what follows the doubt, or the wait for a cut's effect
	Doubted   time.Time  // since when only the tail is too long
	Found     Found
	Depth     float64      // share of it that the cuts took together
	InForce   bitrate.Rate // sum of the limits at the last cut, before it was deepened
	Takes     bitrate.Rate // how much of it that cut was to take
	Guess     bitrate.Rate // of what fits through, that the first cut went by; 0: it was none
	Cuts      int          // since it was last clean for a while
	Fruitless int          // of those in a row, without effect
	CleanAt   time.Time    // clean since
	Rise      queue.Way    // as it was seen up to the first of the cuts in a row
	Unwritten bool         // the last cut was not in force at the last step
	Overshot  bool         // it followed a raise
	Tried     bool         // the raise was a try for more
	Waited    bool         // the queue was what sockets had waiting as limits were raised
}

// Before is how it was before the first of the cuts in a row.
type Before struct {
	At     time.Time
	Total  bitrate.Rate
	Link   Link
	Limits []senders.Limit
}

// Found is what there was at the first of the cuts in a row.
type Found struct {
	Queue time.Duration // that stood
	Tail  time.Duration // 90th percentile of the delay
	Loss  float64       // share lost, where that alone says so
	Used  bitrate.Rate
}

// Search is what is remembered while more is tried for.
type Search struct {
	At         time.Time // of the next try
	Wait       time.Duration
	Step       float64
	Even       bool // in even steps towards the upper bound: the capacity was not measured
	Fine       bool // in small steps soon: it was measured, but more was seen to go through
	Small      Small
	Residual   Residual
	Usual      Usual
	Overbooked Overbooking // by which limits of many come to more
	// No sooner than SpareAt is a quieter link taken for room again.
	SpareAt   time.Time
	SpareWait time.Duration
	Whole     time.Duration // that the last try was waited for of which anybody gets anything, since the link fell
	Vacated   time.Time     // when what others had left was last taken
	Used      time.Time     // when about as much was last sent as has gone through
	// When the budget was last raised, given back, and shifted between senders.
	Raised, Released, Shared time.Time
}

// end forgets what belongs to a search for more, since a cut or a return ends it. When the
// next may begin, and what small tries have shown, outlives it.
func (s *Search) end() { s.Even, s.Fine, s.Step, s.Residual = false, false, 0, Residual{} }

// touchedAt is when the budget was last changed.
func (b *Budget) touchedAt() time.Time {
	return later(later(b.Link.Cut, b.Search.Raised), b.Search.Released)
}

// CutAnew reports whether the first of the cuts in a row was made at that time.
func (b *Budget) CutAnew(at time.Time) bool { return b.Trouble.Before.At.Equal(at) }

// Draining reports whether a cut went below the capacity to empty the queue.
func (b *Budget) Draining() bool {
	phase := b.Phase
	if phase == plan.Doubting {
		phase = b.Trouble.Resume
	}
	return phase == plan.Cutting || phase == plan.Testing || phase == plan.Draining
}

// again reports whether a cut is in force whose queue has not gone yet.
func (b *Budget) again() bool { return b.Phase == plan.Draining }

// recovering reports whether less is given out than was seen to go through or may fit: what
// a cut took too much is being made up for.
func (b *Budget) recovering() bool {
	return (b.Search.Even || b.Search.Fine) && b.Total < b.Link.Upper
}

// Learned reports whether the total is a budget, not just the sum of the limits.
func (b *Budget) Learned() bool { return b.Link.Known || b.Draining() }

// settleTime is how long a change that was asked for may take to be in force
// before the limits in force are believed instead.
const settleTime = 3 * time.Second

// Prepare takes over the limits in force where nothing is learned.
func (b *Budget) Prepare(c Config, limits bitrate.Rate, now time.Time) {
	if b.Phase == "" {
		b.Phase, b.Total = plan.Open, limits
		// Limits of before may be far too low, or just right after a restart.
		b.Search.At = now.Add(c.ProbeEvery / 30)
	}
	if b.Total == 0 || !b.Learned() && now.Sub(b.touchedAt()) > settleTime {
		b.Total = limits
	}
}

// rest is the phase of a budget that is not in trouble.
func (b *Budget) rest() plan.Phase {
	switch {
	case b.Search.Even:
		return plan.Exploring
	case !b.Link.Known:
		return plan.Open
	}
	return plan.Settled
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func near(a, b bitrate.Rate, share float64) bool {
	return max(a-b, b-a) <= bitrate.Scale(b, share)
}
