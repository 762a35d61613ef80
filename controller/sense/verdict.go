package sense

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Verdict is what one app suffers.
type Verdict struct {
	App     *plan.App
	Worst   Reading // of the session that decided
	Blind   bool
	Assumed bool          // nobody sees it: it is what the configuration says
	Allow   time.Duration // delay above base that the target leaves
	Soft    time.Duration // share of it at which the law acts
	Excess  float64       // above 1: in violation
	Lag     time.Duration // of the worst session; of the slowest while blind

	Standing bool // a queue stands
	Tail     bool // too many samples are late, but not most of them
	Lossy    bool
	// Elsewhere is what the app suffers and its node session does not: not the
	// network's doing.
	Elsewhere *Verdict
	Residual  time.Duration // mean of the lower quartiles of all sessions
	Paths     Paths
	// Others is the verdict without the worst session, where that alone of three or
	// more is in trouble: its vantage may be mad.
	Others *Verdict
}

// Key is the app.
func (v Verdict) Key() plan.PodID { return v.App.Pod }

// Paths counts an app's sessions across the network: those that see anything,
// those of them that are late, and those that are late on the way there.
type Paths struct {
	Seen, Late, ForwardLate int
	// LateFrom has a bit for each of the app's sessions that is late, if not on the way
	// back alone; ClearFrom one for each that is not late at all.
	LateFrom, ClearFrom uint64
	// LateThere has a bit for each that is late on the way there, LateBack for each that is so
	// on the way back, and ClearBack for each that is not, where that is known.
	LateThere, LateBack, ClearBack uint64
	// Unmet is the most that one of them shows when nobody sends who may be limited, if
	// that is more than the target leaves: it cannot be met. What counts as late then is
	// twice that.
	Unmet time.Duration
}

// Trouble reports whether there is something to be done: a target is not kept, or
// a queue stands that is about to. Who is blind has none.
func (v *Verdict) Trouble() bool { return v.Standing || v.Tail || v.Lossy }

// Violated reports whether a target is not kept, whoever's doing it is. A base that
// is not known for sure is taken for the path's.
func (v *Verdict) Violated() bool {
	if v.Elsewhere != nil {
		v = v.Elsewhere
	}
	if v.Blind || v.Lossy {
		return v.Lossy
	}
	return v.App.SLO.Late(v.Worst.Jitter(), v.Worst.Latency())
}

// Crosses reports whether an app is measured across the network at all: a probe
// that never leaves its node meets no queue, and has nobody cut.
func Crosses(app *plan.App) bool {
	return slices.ContainsFunc(app.Sessions, func(x plan.Session) bool { return x.Vantage != app.Node })
}

// Beside is how much of the worst delay is none of a node's uplink, as far as that is known.
func (v *Verdict) Beside(node string) time.Duration {
	switch s := v.Worst.Session; {
	case s == nil:
		return 0
	case node == v.App.Node:
		return v.Worst.Forward
	case node == s.Vantage:
		return v.Worst.Back
	}
	return v.Worst.Recent
}

// Roomy reports whether there is room to give more where nothing is in violation.
func (c Config) Roomy(v *Verdict) bool {
	return v.Allow == 0 || float64(v.Worst.Median) < c.Calm*float64(v.Soft)
}

// Figure is the one that decided, with what it is held against: a delay and its
// bound, or a ratio of lost probes.
func (v *Verdict) Figure() (signal plan.Signal, measured, bound time.Duration, ratio float64) {
	r := &v.Worst
	signal, measured, bound = plan.Jitter, max(r.Median, r.Tail), v.Allow
	switch {
	case v.Lossy:
		return plan.Loss, 0, 0, r.Lost
	case v.Paths.Unmet > 0 && !v.Trouble():
		measured, bound = v.Paths.Unmet, Allowance(v.App.SLO, Above(r.Base))
	case v.Standing && measured <= v.Allow: // it is not the target that is exceeded yet
		measured, bound = max(r.Low, r.Recent), v.Soft
	case v.Standing && !(r.Low > v.Soft && r.Recent > v.Soft):
		measured = r.surge
	}
	if v.App.SLO.Jitter == 0 && v.App.SLO.Latency > 0 && r.Session != nil {
		base := r.Latency() - r.Tail
		return plan.Latency, measured + base, bound + base, 0
	}
	return signal, measured, bound, 0
}
