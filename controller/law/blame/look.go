package blame

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Look is where the trouble of each app is looked for at one step, and who has a say there.
type Look struct {
	Diagnoses []Diagnosis // in the order of the apps

	config  Config
	sense   sense.Config
	view    sense.View
	sending Sending
	index   index
}

// Observe goes on from the diagnoses of the step before; a budget is there for the
// bottlenecks that behind reports, and full reports whether one is by what others than an app show.
func Observe(c Config, sc sense.Config, known []Diagnosis, behind func(plan.Bottleneck) bool, full func(plan.Bottleneck, *plan.App) bool, v sense.View, s senders.Look) Look {
	l := Look{config: c, sense: sc, view: v, sending: Active(v.Senders, s.Uses)}
	if v.Elsewhere != nil {
		for _, b := range v.Elsewhere.Sending {
			l.sending[b], l.sending[plan.Cluster] = true, true
		}
	}
	if slices.ContainsFunc(v.Verdicts, func(x sense.Verdict) bool { return x.Others != nil }) {
		l.view.Verdicts = slices.Clone(v.Verdicts)
		for i := range v.Verdicts {
			l.view.Verdicts[i] = *believed(&v.Verdicts[i], l.sending)
		}
	}
	afar, early := lateFromAfar(l.view.Verdicts, full), unsure(known, l.view.Verdicts, l.sending, v.At)
	if v.Elsewhere != nil { // those it takes to say so are not all shown
		afar, early = v.Elsewhere.Afar, v.Elsewhere.Unsure
	}
	l.Diagnoses = diagnose(known, behind, l.view.Verdicts, afar, early, l.sending, v.At)
	l.index = indexOf(v, l.Diagnoses)
	return l
}

// Escalate has the apps that blame a bottleneck look elsewhere, since cuts were tried there in
// vain, or nobody can be: what was in vain for one of them was so for all. It returns which
// bottlenecks are blamed next; idle, if that of the opinion is late by itself.
func (l *Look) Escalate(o *Opinion, p Place, tried bool) (next []plan.Bottleneck, idle bool) {
	leave := func(app int, v *sense.Verdict) (moved bool) {
		b, moved := l.Diagnoses[app].move(l.config, p.Bottleneck, v, l.sending, tried, l.view.At)
		if moved {
			next = append(next, b)
		}
		return moved
	}
	v := &o.Verdict
	if l.Diagnoses[o.App].Apart { // it tells of one alone
		v = &l.view.Verdicts[o.App]
	}
	idle = !leave(o.App, v)
	for _, i := range p.apps {
		if tried && l.troubled(int(i), p.Bottleneck) {
			leave(int(i), &l.view.Verdicts[i])
		}
	}
	return next, idle
}

// Helped notes that somebody is cut for an app now.
func (l *Look) Helped(app int) { l.Diagnoses[app].Since = l.view.At }

// Charge charges the app for whom others are held back, and reports which that is and whether
// it has cost them what it may. What the agent beside it sees as well is not its word alone,
// and costs it nothing.
func (l *Look) Charge(app plan.PodID, cost time.Duration) (payer *sense.Verdict, spent bool) {
	if cost == 0 {
		return nil, false
	}
	i, found := plan.Find(l.Diagnoses, app)
	if !found || l.sense.Vouched(&l.view.Apps[i], l.view.At) {
		return nil, false
	}
	return &l.view.Verdicts[i], l.Diagnoses[i].charge(l.config, cost, l.view.At)
}
