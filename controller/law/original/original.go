// Package original reproduces the two controllers that detnet grew from, to the
// number, so that it can be measured against them. It shares nothing with the
// adaptive law but what both are shown.
package original

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// State is what they remember.
type State struct {
	ActedAt   time.Time
	Baselines []Baseline
}

// Baseline is what aimd and step remember of one app.
type Baseline struct {
	App    plan.PodID
	Taken  time.Time // when the newest sample taken in was sent
	Base   time.Duration
	Delays []time.Duration // round trips, oldest first
}

// look takes in the samples of each app that lie at least every apart, and keeps the
// newest of them.
func (s State) look(apps []plan.App, every time.Duration, keep int) State {
	next := State{ActedAt: s.ActedAt, Baselines: make([]Baseline, 0, len(apps))}
	for i, app := range apps {
		b := baseline(s.Baselines, i, app.Pod)
		b.take(every, path(app))
		b.Delays = b.Delays[max(len(b.Delays)-keep, 0):]
		next.Baselines = append(next.Baselines, b)
	}
	return next
}

// baseline is what is known of the i-th app: most often it was the i-th before.
func baseline(known []Baseline, i int, app plan.PodID) Baseline {
	if i >= len(known) || known[i].App != app {
		i = slices.IndexFunc(known, func(b Baseline) bool { return b.App == app })
	}
	if i < 0 {
		return Baseline{App: app}
	}
	b := known[i]
	b.Delays = slices.Clone(b.Delays)
	return b
}

func (b *Baseline) take(every time.Duration, samples []plan.Sample) {
	for _, sample := range samples {
		if sample.Lost || !sample.At.After(b.Taken) || sample.At.Time().Sub(b.Taken) < every {
			continue
		}
		if b.Base == 0 || sample.RTT < b.Base {
			b.Base = sample.RTT
		}
		b.Delays = append(b.Delays, sample.RTT)
		b.Taken = sample.At.Time()
	}
}

// path is the one path of an app that the originals would probe: the first
// that crosses the network.
func path(app plan.App) []plan.Sample {
	for _, session := range app.Sessions {
		if session.Vantage != app.Node {
			return session.Samples
		}
	}
	if len(app.Sessions) > 0 {
		return app.Sessions[0].Samples
	}
	return nil
}

// due reports whether it is time to act. The first step only starts the clock.
func due(s *State, now time.Time, every time.Duration) bool {
	if s.ActedAt.IsZero() {
		s.ActedAt = now
		return false
	}
	if now.Sub(s.ActedAt) < every {
		return false
	}
	s.ActedAt = now
	return true
}

// limits are those that change by as much as is worth a write: each to what to makes of
// it, within the sender's bounds, or the law's where it has none.
func limits(all []plan.Sender, floor, ceiling, least bitrate.Rate, to func(from bitrate.Rate) bitrate.Rate) []plan.Limit {
	var changed []plan.Limit
	for _, s := range all {
		low, high := cmp.Or(s.Min, floor), cmp.Or(s.Max, ceiling)
		high = max(low, high)
		from := cmp.Or(s.Limit, high)
		next := min(max(to(from), low), high)
		if next != s.Limit && max(next-from, from-next) >= least {
			changed = append(changed, plan.Limit{Pod: s.Pod, From: s.Limit, To: next})
		}
	}
	return changed
}

// MaxSeverity is the largest severity that aimd and step take.
const MaxSeverity = 10
