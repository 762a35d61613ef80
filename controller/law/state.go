package law

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// State is all that a law remembers between steps. It is a plain value: it can
// be stored, compared and printed, and a Step never changes the one it got.
// What must survive a restart is not here but in the limits themselves.
type State struct {
	At time.Time // of the step that made it

	// Of adaptive.
	Paths    []Path    // measured paths, by app and session
	Uses     []Use     // recent peaks, by sender
	Suspects []Suspect // where each app's trouble is looked for
	Budgets  []Budget  // one per bottleneck
	Feedback Feedback  // how long a patch takes to show

	// Of aimd and step.
	ActedAt   time.Time
	Baselines []Baseline
}

// Path is the long memory of one session: the least delay seen lately, in
// buckets of time so that an old minimum wears out after a route change.
type Path struct {
	App     plan.PodID
	ID      string
	Seen    time.Time // newest sample taken in
	Sure    bool      // the base is one of an empty path, not of a standing queue
	RTT     Floor
	Forward Floor // one-way, with the unknown clock offset
	Back    Floor
}

// Budget is the memory of one bottleneck.
type Budget struct {
	Name       string       // "node/worker-1" or "cluster"
	Total      bitrate.Rate // what the senders behind it may use together
	Capacity   bitrate.Rate // what is thought to fit through; 0: not known
	Measured   bool         // it was measured, not assumed
	Best       bitrate.Rate // highest Capacity so far
	Rise       float64      // slope on the way up to the last cut; 0: not seen
	RiseInflow bitrate.Rate
	Upper      bitrate.Rate // usage at the last cut: more than fits through

	CutAt     time.Time     // last cut
	InForce   bitrate.Rate  // sum of the limits at that time
	Used      bitrate.Rate  // usage at the first of the cuts in a row
	Depth     float64       // share of it that they took together
	EffectBy  time.Time     // samples sent before this say nothing about the last cut
	Unwritten bool          // it was not in force at the last step
	Awaited   bool          // its effect was not seen at the last step
	Overshot  bool          // it followed a raise
	Draining  bool          // the last cut went below Capacity to empty the queue
	Doubted   time.Time     // since when only the tail is too long; zero: it is not
	Standing  time.Duration // queue at the first of the cuts in a row
	Cuts      int           // in a row, since it was last clean for a while
	CleanAt   time.Time     // clean since; zero: not clean
	Fruitless int           // of them, without effect
	Began     time.Time     // the first of them
	Known     bitrate.Rate  // Capacity before them
	Before    bitrate.Rate  // Total before them
	Limits    []LimitState  // and the limits

	RaisedAt   time.Time
	Proven     bitrate.Rate // highest Total in use without a queue since it was raised
	ProbeAt    time.Time    // next try for more
	ProbeWait  time.Duration
	ProbeStep  float64
	Exploring  bool // Capacity is unknown and looked for in even steps
	Hum        Hum
	ReliefAt   time.Time // no sooner than this is a quieter link believed again
	ReliefWait time.Duration
	SharedAt   time.Time // last shift between senders

	GaveUpAt time.Time // last restored because cuts did not help
	Testing  bool      // the last cut was to learn the base of a path
}

// LimitState is a limit asked for at some time.
type LimitState struct {
	Pod   plan.PodID
	Limit bitrate.Rate
	At    time.Time
}

// Suspect is where the trouble of an app is looked for.
type Suspect struct {
	App        plan.PodID
	Bottleneck string
	Tried      []string  // others that were of no help in the present trouble
	InVain     bool      // somebody was cut in it without effect
	Since      time.Time // last in trouble

	// No bottleneck is to blame: cuts did not help anywhere. Until RetryAt
	// the app is not acted upon, unless it gets much worse than Level.
	RetryAt time.Time
	Backoff time.Duration
	Level   time.Duration
}
