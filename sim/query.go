package sim

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
)

// query answers for a session from what its app's metrics say.
type query struct {
	session *session
	answers []plan.Sample
}

func (q *query) fire(now time.Duration, _ event) {
	spec := q.session.w.scenario.Query
	q.session.w.schedule(now+spec.Every, q, 0, 0)
	scraped := now - now%spec.Scrape
	var delays []time.Duration
	for _, d := range slices.Backward(q.session.samples) {
		if d.known > scraped || d.sample.Lost {
			continue
		}
		if d.known <= scraped-spec.Range {
			break
		}
		delays = append(delays, d.sample.RTT)
	}
	if len(delays) == 0 {
		return
	}
	slices.Sort(delays)
	q.answers = append(q.answers, plan.Sample{At: plan.At(Epoch.Add(now)), RTT: quantile.Of(delays, 0.95)})
}

// path is what the controller sees of it.
func (q *query) path() plan.Session {
	spec := q.session.w.scenario.Query
	lag := spec.Range + spec.Scrape
	oldest := Epoch.Add(q.session.w.now - 2*lag)
	q.answers = slices.DeleteFunc(q.answers, func(s plan.Sample) bool { return s.At.Before(oldest) })
	return plan.Session{ID: "query of " + q.session.app.Name, Samples: slices.Clone(q.answers), Lag: lag}
}
