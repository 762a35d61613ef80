package blame

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Opinion is the verdict that counts for a bottleneck: that of the app in the
// worst trouble among those that have a say.
type Opinion struct {
	sense.Verdict
	App     int            // whose it is, by place; −1: nobody's
	Unmet   *sense.Verdict // of the first app whose target cannot be met; nil: there is none
	Silent  bool           // nobody has a say
	Partial bool           // others that have a say are blind
	LetBe   bool           // in trouble, but nobody is cut for it for now
	Spent   bool           // let be because it has cost the others what it may
	Awaited bool           // another one in trouble has yet to see the effect of the last cut
}

// Gentle reports whether most packets are well.
func (o *Opinion) Gentle() bool { return !o.Standing && o.Worst.Recent <= o.Soft }

// Cause is why an app in trouble is let be.
func (o *Opinion) Cause() plan.Cause {
	if o.Spent {
		return plan.TooCostly
	}
	return plan.Unresponsive
}

// Opinion is that of the app in the worst trouble among those that have a say, by samples
// that say nothing of the time before since, where others may count.
func (l *Look) Opinion(p Place, since time.Time) Opinion {
	o := Opinion{Verdict: sense.Verdict{Blind: true}, App: -1, Silent: true}
	var slowest time.Duration
	for _, i := range p.apps {
		app, s, v := &l.view.Apps[i], &l.Diagnoses[i], &l.view.Verdicts[i]
		if !s.concerns(p.Bottleneck, app, v.Trouble()) {
			continue
		}
		o.Silent = false
		blind := v.Blind
		if v = l.after(p.Bottleneck, s, since, v); v.Blind {
			o.Awaited = o.Awaited || v.Lag == 0 && l.troubled(int(i), p.Bottleneck) // slow signals are not waited for
			o.Partial = o.Partial || p.Node == app.Node && blind
			slowest = max(slowest, v.Lag)
			continue
		}
		if o.Unmet == nil && v.Paths.Unmet > 0 {
			o.Unmet = v
		}
		letBe := v.Trouble() && s.letBe(v, l.view.At)
		if o.App < 0 || worse(v, letBe, &o) {
			o.Verdict, o.App, o.LetBe, o.Spent = *v, int(i), letBe, letBe && s.Spent
		}
	}
	if o.Blind {
		o.Lag = slowest
	}
	return o
}

// after is the verdict by samples that say nothing of the time before since, where others may
// count; by the way across an uplink alone, where the app is late by others as well.
func (l *Look) after(b plan.Bottleneck, s *Diagnosis, since time.Time, v *sense.Verdict) *sense.Verdict {
	c := &l.sense
	if !b.Whole && !v.Assumed && (s.Apart && v.Trouble() || !v.Trouble() && v.Beside(b.Node) > v.Soft/2) {
		across := c.Across(v.App, b.Node, since, l.view.At)
		return believed(&across, l.sending)
	}
	if v.Assumed || l.view.At.Sub(since) >= c.Stale+c.LossWindow+2*v.Lag {
		return v
	}
	again := c.Judge(v.App, since, l.view.At)
	return believed(&again, l.sending)
}

// believed leaves out the one path of three and more that says something else than all
// others, unless its own node sends: its host or clock may be wrong.
func believed(v *sense.Verdict, sending Sending) *sense.Verdict {
	if v.Others == nil || sending[plan.Uplink(v.Worst.Session.Vantage)] {
		return v
	}
	return v.Others
}

func worse(v *sense.Verdict, letBe bool, than *Opinion) bool {
	return cmp.Or(cmp.Compare(urgency(v, letBe), urgency(&than.Verdict, than.LetBe)), cmp.Compare(v.Excess, than.Excess)) > 0
}

// urgency orders verdicts: trouble that can be acted upon, trouble that is left
// alone and trouble elsewhere (nobody is raised into these either), and none.
func urgency(v *sense.Verdict, letBe bool) int {
	switch {
	case !v.Trouble() && v.Elsewhere == nil:
		return 0
	case !v.Trouble():
		return 1
	case letBe:
		return 2
	}
	return 3
}

// troubled reports whether an app in trouble blames a bottleneck, by all of its
// samples, and is not left alone.
func (l *Look) troubled(app int, b plan.Bottleneck) bool {
	s, v := &l.Diagnoses[app], &l.view.Verdicts[app]
	return s.blames(b) && v.Trouble() && !s.letBe(v, l.view.At)
}

// Paths are the sessions by which a bottleneck's queue is measured: of all apps
// that have a say in it. Several apps of a node have the same node session.
func (l *Look) Paths(p Place) []queue.Path {
	type path struct{ id, vantage string }
	var all []queue.Path
	beside := map[path]bool{}
	for _, i := range p.apps {
		app, s, v := &l.view.Apps[i], &l.Diagnoses[i], &l.view.Verdicts[i]
		if !s.concerns(p.Bottleneck, app, v.Trouble()) || v.Trouble() && s.letBe(v, l.view.At) {
			continue
		}
		for k := range app.Sessions {
			session := &app.Sessions[k]
			own := p.Node == app.Node
			if session.Lag > 0 || own && session.Vantage == app.Node || !own && !p.Whole && p.Node != session.Vantage {
				continue
			}
			knows := queue.Path{Session: sense.OfQueues(app, session)}
			if s.Apart {
				knows.Leg, _ = sense.LegAcross(app, session, p.Node)
			}
			if id := (path{knows.ID, knows.Vantage}); knows.Session != session || knows.Leg != sense.RoundTrip {
				if beside[id] {
					continue
				}
				beside[id] = true
			}
			all = append(all, knows)
		}
	}
	return all
}

// Empty are the apps that blame a bottleneck: their paths are empty.
func (l *Look) Empty(p Place) (apps []plan.PodID) {
	for _, i := range p.apps {
		if s := &l.Diagnoses[i]; s.Bottleneck == p.Bottleneck && !s.Apart {
			apps = append(apps, l.view.Apps[i].Pod)
		}
	}
	return apps
}
