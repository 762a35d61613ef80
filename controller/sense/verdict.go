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

// Judge reads every session of an app that crosses the network and lets the
// worst decide. Only samples sent from since on count.
func (c Config) Judge(app *plan.App, since, now time.Time) Verdict {
	return c.judge(app, "", since, now)
}

// Across judges an app by what the uplink of one node alone does to it: by the way back where
// that is its own node, else by the way there from that node. A session that does not know them
// apart is judged by both.
func (c Config) Across(app *plan.App, node string, since, now time.Time) Verdict {
	return c.judge(app, node, since, now)
}

// judge goes by the uplink of a node alone, if one is named.
func (c Config) judge(app *plan.App, node string, since, now time.Time) Verdict {
	t := tally{worst: Verdict{App: app, Blind: true, Excess: -1}, second: Verdict{Excess: -1}}
	remote := Crosses(app)
	for i := range app.Sessions {
		session := &app.Sessions[i]
		if session.Vantage == app.Node && remote {
			continue // does not cross the uplink
		}
		leg, crosses := LegAcross(app, session, node)
		if !crosses {
			continue
		}
		t.slowest = max(t.slowest, session.Lag)
		felt := c.read(session, leg, since, now)
		v := c.weigh(app, c.network(app, session, felt, since, now), since)
		if v.Blind {
			continue
		}
		t.add(&v, i)
		if v.Trouble() || leg != RoundTrip {
			continue
		}
		if own := c.weigh(app, felt, since); own.Trouble() && (t.elsewhere == nil || own.Excess > t.elsewhere.Excess) {
			late := own
			t.elsewhere = &late
		}
	}
	return t.verdict()
}

// tally is what an app's sessions come to, one after the other.
type tally struct {
	worst, second Verdict
	elsewhere     *Verdict // the worst that a session suffers and its node session does not
	paths         Paths
	troubled      int
	stands        int           // sessions whose newest four are beyond what is soft
	surges        int           // sessions whose newest two samples are beyond the allowance
	low           time.Duration // sum of the lower quartiles
	slowest       time.Duration
}

// add takes in the verdict by a session, the i-th of the app's, that sees anything.
func (t *tally) add(v *Verdict, i int) {
	r := &v.Worst
	t.paths.Seen++
	t.low += r.Low
	t.paths.Unmet = max(t.paths.Unmet, v.Paths.Unmet)
	bit := uint64(1) << i // 0 from the 65th on
	if r.Recent > v.Soft {
		t.paths.Late++
	}
	t.legs(v, bit)
	switch {
	case r.Recent <= v.Soft/2:
		t.paths.ClearFrom |= bit
	case r.Recent > v.Soft && r.Back <= 2*r.Forward:
		t.paths.LateFrom |= bit
	}
	if r.Forward > v.Soft && r.Forward > 2*r.Back {
		t.paths.ForwardLate++
	}
	if v.Trouble() {
		t.troubled++
	}
	if v.Allow > 0 && r.pair > v.Allow {
		t.surges++
	}
	if v.Allow > 0 && r.Surge > v.Soft {
		t.stands++
	}
	switch {
	case v.Excess > t.worst.Excess:
		t.worst, t.second = *v, t.worst
	case v.Excess > t.second.Excess:
		t.second = *v
	}
}

// legs takes in which of a session's ways are late, where they are known apart.
func (t *tally) legs(v *Verdict, bit uint64) {
	r := &v.Worst
	if r.Forward == 0 && r.Back == 0 {
		return // not known
	}
	if There.part(r.Recent, r.Forward, r.Back) > v.Soft {
		t.paths.LateThere |= bit
	}
	if Back.part(r.Recent, r.Forward, r.Back) > v.Soft {
		t.paths.LateBack |= bit
	} else {
		t.paths.ClearBack |= bit
	}
}

// verdict is that by all sessions.
func (t *tally) verdict() Verdict {
	v := t.worst
	v.Paths = t.paths
	agreed := t.surges > 1 || t.stands > 1 // what two paths see is as sure as what one sees for twice as long
	if second := &t.second; agreed && t.troubled == 1 && t.paths.Seen >= corroborated && second.Worst.Surge > second.Soft {
		v = *second // by how much the worst is later is its word alone
		v.Paths = t.paths
	}
	if agreed {
		v.Standing, v.Tail = true, false
	}
	if t.troubled == 1 && !agreed && v.Trouble() && t.paths.Seen >= corroborated {
		others := t.second
		others.Paths, others.Lag, others.Residual = Paths{Seen: t.paths.Seen - 1}, v.Lag, others.Worst.Low
		v.Others = &others
	}
	if !v.Trouble() {
		v.Elsewhere = t.elsewhere
	}
	if v.Blind {
		v.Lag = t.slowest
	}
	if t.paths.Seen > 0 {
		v.Residual = t.low / time.Duration(t.paths.Seen)
	}
	return v
}

// Assume is the verdict on an app that nobody sees, where the configuration says
// what delay to take for granted.
func (c Config) Assume(app *plan.App, delay time.Duration) Verdict {
	allow := app.SLO.Jitter
	if allow == 0 {
		allow = app.SLO.Latency
	}
	v := Verdict{App: app, Assumed: true, Allow: allow, Soft: c.soft(allow)}
	v.Worst = Reading{Low: delay, Median: delay, Tail: delay, Recent: delay}
	v.compare()
	return v
}

// corroborated is how many paths must see anything for one of them to need another
// that says the same.
const corroborated = 3

func (c Config) soft(allow time.Duration) time.Duration {
	return time.Duration(c.Soft * float64(allow))
}

func (c Config) weigh(app *plan.App, r Reading, since time.Time) Verdict {
	v := Verdict{App: app, Worst: r, Lag: r.Session.Lag}
	lossTarget := app.SLO.Loss
	if lossTarget == 0 {
		lossTarget = c.LossShare
	}
	// What has never been answered is a probe that does not fit, not a network.
	answered := r.Samples > 0 || r.Base.Delay > 0
	v.Lossy = answered && r.LostCount >= 2 && r.Lost > lossTarget
	if r.Samples == 0 {
		v.Blind = !v.Lossy
		return v
	}
	v.Allow = Allowance(app.SLO, Above(r.Base))
	usual := 2 * r.Base.Idle // what is by chance
	if r.Base.Idle > v.Allow && v.Allow > 0 {
		v.Paths.Unmet, v.Allow = r.Base.Idle, usual
	}
	v.Soft = max(c.soft(v.Allow), min(usual, v.Allow))
	v.compare()
	v.Tail = v.Tail && c.often(&r, v.Allow, since)
	if v.Lossy {
		v.Excess = max(v.Excess, r.Lost/lossTarget)
	}
	return v
}

// often reports whether a tenth is late over a second, too: of the few samples of a
// window two may be by chance.
func (c Config) often(r *Reading, allow time.Duration, since time.Time) bool {
	all, late := 0, 0
	samples := r.Session.Samples
	for i := range slices.Backward(samples) {
		s := &samples[i]
		if s.At.Before(since) || samples[len(samples)-1].At.Sub(s.At) > often*c.Window {
			break
		}
		if all++; s.Lost || r.leg.above(s, &r.Base) > allow {
			late++
		}
	}
	return r.Session.Lag > 0 || 10*late >= all
}

const often = 4 // windows

// compare sets what follows from the delays and the allowance.
func (v *Verdict) compare() {
	if v.Allow == 0 {
		return // only loss is asked for
	}
	r := &v.Worst
	v.Standing = r.Low > v.Soft && r.Recent > v.Soft || r.Surge > v.Allow
	v.Tail = !v.Standing && r.Tail > v.Allow
	v.Excess = max(float64(r.Median)/float64(v.Soft), float64(r.Tail)/float64(v.Allow))
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
		measured = r.Surge
	}
	if v.App.SLO.Jitter == 0 && v.App.SLO.Latency > 0 && r.Session != nil {
		base := r.Latency() - r.Tail
		return plan.Latency, measured + base, bound + base, 0
	}
	return signal, measured, bound, 0
}
