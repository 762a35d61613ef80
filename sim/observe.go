package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

func (w *world) observe(now time.Duration) plan.Observation {
	o := plan.Observation{At: Epoch.Add(now), Told: w.scenario.Told}
	known := now - w.scenario.ReportDelay
	for _, a := range w.scenario.Apps {
		app := plan.App{Pod: podID(a.Name), Node: a.Node, Rank: a.Rank, Protocol: a.Protocol, SLO: a.SLO}
		for _, s := range w.sessions {
			if s.app.Name != a.Name {
				continue
			}
			if w.scenario.Query != (Query{}) {
				continue
			}
			seen := plan.Session{ID: s.id, Vantage: s.from, Samples: s.observed(now, known)}
			if s.agent {
				app.NodeSessions = append(app.NodeSessions, seen)
			} else {
				app.Sessions = append(app.Sessions, seen)
			}
		}
		for _, q := range w.queries {
			if q.session.app.Name == a.Name {
				app.Sessions = append(app.Sessions, q.path())
			}
		}
		o.Apps = append(o.Apps, app)
	}
	for _, s := range w.sources {
		if s.spec.Uncontrolled {
			continue
		}
		id := podID(s.spec.Name)
		rates := w.rates[id]
		for len(rates) > 0 && rates[0].At.Before(Epoch.Add(now-rateHistory)) {
			rates = rates[1:]
		}
		w.rates[id] = rates
		seen := rates
		for len(seen) > 0 && seen[len(seen)-1].At.After(Epoch.Add(known)) {
			seen = seen[:len(seen)-1]
		}
		o.Senders = append(o.Senders, plan.Sender{
			Pod: id, Node: s.spec.Node, Rank: s.spec.Rank, Weight: max(s.spec.Weight, 1),
			Min: cmp.Or(s.spec.Min, 10*bitrate.Mbit), Max: cmp.Or(s.spec.Max, bitrate.Gbit), Limit: w.limits[id], Limiter: w.limiter(), Rates: slices.Clone(seen),
		})
	}
	return o
}

// limiter is what the controller is told that holds senders to their limits: the agent's
// own counters are behind it.
func (w *world) limiter() plan.Limiter {
	limiter := cmp.Or(w.scenario.Limiter, plan.TokenBucket)
	if w.scenario.CountBefore && limiter == plan.TokenBucket {
		return ""
	}
	return limiter
}
