package sense

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Judge reads every session of an app that crosses the network and lets the
// worst decide. Only samples sent from since on count.
func (c Config) Judge(app *plan.App, since, now time.Time) Verdict {
	return c.Across(app, "", since, now)
}

// Across judges an app by what the uplink of one node alone does to it: by the way back where
// that is its own node, else by the way there from that node, and by both where none is named. A
// session that does not know them apart is judged by both.
func (c Config) Across(app *plan.App, node string, since, now time.Time) Verdict {
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
	if r.Ways != (Ways{}) {
		t.paths.legs(r, v.Soft, bit)
	}
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
	if v.Allow > 0 && r.surge > v.Soft {
		t.stands++
	}
	switch {
	case v.Excess > t.worst.Excess:
		t.worst, t.second = *v, t.worst
	case v.Excess > t.second.Excess:
		t.second = *v
	}
}

// legs notes which of a session's ways are late.
func (p *Paths) legs(r *Reading, soft time.Duration, bit uint64) {
	if There.part(r.Recent, r.Ways) > soft {
		p.LateThere |= bit
	}
	if Back.part(r.Recent, r.Ways) > soft {
		p.LateBack |= bit
	} else {
		p.ClearBack |= bit
	}
}

// quorum is how many paths must see anything for one of them to need another that says
// the same.
const quorum = 3

// verdict is that by all sessions.
func (t *tally) verdict() Verdict {
	v := t.worst
	agreed := t.surges > 1 || t.stands > 1 // what two paths see is as sure as what one sees for twice as long
	alone := t.troubled == 1 && t.paths.Seen >= quorum
	switch {
	case alone && agreed && t.second.Worst.surge > t.second.Soft:
		v = t.second // by how much the worst is later is its word alone
	case alone && !agreed && v.Trouble():
		others := t.second
		others.Paths, others.Lag, others.Residual = Paths{Seen: t.paths.Seen - 1}, v.Lag, others.Worst.Low
		v.Others = &others
	}
	if agreed {
		v.Standing, v.Tail = true, false
	}
	v.Paths = t.paths
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

func (c Config) weigh(app *plan.App, r Reading, since time.Time) Verdict {
	v := Verdict{App: app, Worst: r, Lag: r.Session.Lag}
	lossTarget := cmp.Or(app.SLO.Loss, c.LossShare)
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
	all, late, from := 0, 0, plan.At(since)
	samples := r.Session.Samples
	for i := range slices.Backward(samples) {
		s := &samples[i]
		if s.At.Compare(from) < 0 || samples[len(samples)-1].At.Sub(s.At) > 4*c.Window {
			break
		}
		if all++; s.Lost || r.leg.Above(s, &r.Base) > allow {
			late++
		}
	}
	return r.Session.Lag > 0 || 10*late >= all
}

// compare sets what follows from the delays and the allowance.
func (v *Verdict) compare() {
	if v.Allow == 0 {
		return // only loss is asked for
	}
	r := &v.Worst
	v.Standing = r.Low > v.Soft && r.Recent > v.Soft || r.surge > v.Allow
	v.Tail = !v.Standing && r.Tail > v.Allow
	v.Excess = max(float64(r.Median)/float64(v.Soft), float64(r.Tail)/float64(v.Allow))
}

// Assume is the verdict on an app that nobody sees, where the configuration says
// what delay to take for granted.
func (c Config) Assume(app *plan.App, delay time.Duration) Verdict {
	allow := cmp.Or(app.SLO.Jitter, app.SLO.Latency)
	v := Verdict{App: app, Assumed: true, Allow: allow, Soft: c.soft(allow)}
	v.Worst = Reading{Low: delay, Median: delay, Tail: delay, Recent: delay}
	v.compare()
	return v
}

func (c Config) soft(allow time.Duration) time.Duration {
	return time.Duration(c.Soft * float64(allow))
}
