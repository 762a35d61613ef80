package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// verdict is what one app says about one bottleneck.
type verdict struct {
	app     *plan.App
	worst   reading
	blind   bool
	silent  bool          // nobody has a say
	partial bool          // others that have a say are blind
	allow   time.Duration // delay variation that the target leaves
	soft    time.Duration // share of it at which the law acts
	excess  float64       // above 1: in violation
	lag     time.Duration // of the worst session; of the slowest while blind

	standing bool // a queue stands
	tail     bool // too many samples are late, but not most of them
	lossy    bool
	excused  bool // in trouble, but left alone for now
	assumed  bool // nobody sees it: it is what the configuration says
	awaited  bool // another one in trouble has yet to see the effect of the last cut
	// What the app suffers that its witness does not: not the network's doing.
	elsewhere *verdict
	hum       time.Duration // mean of the lower quartiles of all sessions

	// Sessions across the network, those of them that are late, and those that
	// are late on the way there.
	paths, late, forwardLate int
}

func (v verdict) violated() bool { return v.standing || v.tail || v.lossy }

// urgency orders verdicts: trouble that can be acted upon, trouble that is left
// alone and trouble elsewhere (nobody is raised into these either), and none.
func (v verdict) urgency() int {
	switch {
	case !v.violated() && v.elsewhere == nil:
		return 0
	case !v.violated():
		return 1
	case v.excused:
		return 2
	}
	return 3
}

// judge reads every session of an app that crosses the network and lets the
// worst decide. Only samples sent from since on count.
func (l adaptive) judge(app *plan.App, paths pathIndex, since, now time.Time) verdict {
	v := verdict{app: app, blind: true, excess: -1}
	seen, late, there := 0, 0, 0
	var sum time.Duration
	var elsewhere *verdict
	most, slowest := -1.0, time.Duration(0)
	remote := slices.ContainsFunc(app.Sessions, func(x plan.Session) bool { return x.Vantage != app.Node })
	for i := range app.Sessions {
		session := &app.Sessions[i]
		if session.Vantage == app.Node && remote {
			continue // does not cross the uplink
		}
		p := paths[pathKey{app.Pod, session.ID}]
		felt := l.read(session, p, since, now)
		slowest = max(slowest, session.Lag)
		w := l.weigh(app, l.witnessed(app, session, felt, paths, since, now))
		if w.blind {
			continue
		}
		if own := l.weigh(app, felt); own.violated() && !w.violated() && own.excess > most {
			elsewhere, most = &own, own.excess
		}
		seen++
		sum += w.worst.low
		if w.worst.recent > w.soft {
			late++
		}
		if w.worst.forward > w.soft && w.worst.forward > 2*w.worst.back {
			there++
		}
		if w.excess > v.excess {
			v = w
		}
	}
	v.paths, v.late, v.forwardLate = seen, late, there
	if !v.violated() {
		v.elsewhere = elsewhere
	}
	if v.blind {
		v.lag = slowest
	}
	if seen > 0 {
		v.hum = sum / time.Duration(seen)
	}
	return v
}

// assumption is the verdict on an app that nobody sees, where the configuration
// says what to take for granted.
func (l adaptive) assumption(app *plan.App) verdict {
	allow := app.SLO.Jitter
	if allow == 0 {
		allow = app.SLO.Latency
	}
	w := verdict{app: app, assumed: true, allow: allow, soft: time.Duration(l.Soft * float64(allow))}
	w.worst = reading{low: l.Assume, median: l.Assume, tail: l.Assume, recent: l.Assume}
	l.compare(&w)
	return w
}

func (l adaptive) weigh(app *plan.App, r reading) verdict {
	v := verdict{app: app, worst: r, lag: r.session.Lag}
	lossTarget := app.SLO.Loss
	if lossTarget == 0 {
		lossTarget = l.LossShare
	}
	v.lossy = r.lostCount >= 2 && r.lost > lossTarget
	if r.samples == 0 {
		v.blind = !v.lossy
		return v
	}
	v.allow = allowance(app.SLO, r.path.base())
	v.soft = time.Duration(l.Soft * float64(v.allow))
	l.compare(&v)
	if v.lossy {
		v.excess = max(v.excess, r.lost/lossTarget)
	}
	return v
}

// compare sets what follows from the delays and the allowance.
func (l adaptive) compare(v *verdict) {
	if v.allow == 0 {
		return // only loss is asked for
	}
	r := v.worst
	v.standing = r.low > v.soft && r.recent > v.soft || r.surge > v.allow
	v.tail = !v.standing && r.tail > v.allow
	v.excess = max(float64(r.median)/float64(v.soft), float64(r.tail)/float64(v.allow))
}

// calm reports whether there is room to give more where nothing is in violation.
func (l adaptive) calm(v verdict) bool {
	return v.allow == 0 || float64(v.worst.median) < l.Calm*float64(v.soft)
}

// allowance turns targets into one bound on the delay above base: jitter is
// that bound, and a latency target leaves what the empty path does not use. A
// latency target at or below the base cannot be met; a twentieth of it is kept
// as a bound so that the law still reacts to what it can change.
func allowance(slo workload.SLO, base time.Duration) time.Duration {
	if slo.Latency == 0 {
		return slo.Jitter
	}
	room := max(slo.Latency-base, slo.Latency/20)
	if slo.Jitter == 0 {
		return room
	}
	return min(slo.Jitter, room)
}

// explain adds what was measured to a reason.
func explain(r plan.Reason, v verdict) plan.Reason {
	if v.app == nil || v.blind {
		return r
	}
	if v.elsewhere != nil {
		v = *v.elsewhere
	}
	r.App, r.Samples = v.app.Pod, v.worst.samples
	switch {
	case v.lossy:
		r.Signal, r.Ratio = "loss", v.worst.lost
	case v.app.SLO.Jitter == 0 && v.app.SLO.Latency > 0 && v.worst.path != nil:
		r.Signal, r.Measured, r.Target = "latency", v.worst.tail+v.worst.path.RTT.value(), v.app.SLO.Latency
	default:
		r.Signal, r.Measured, r.Target = "jitter", max(v.worst.median, v.worst.tail), v.allow
	}
	return r
}
