// Package original reproduces the two controllers that detnet grew from, to the
// number, so that it can be measured against them. It shares nothing with the
// adaptive law but what both are shown.
package original

import (
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

// takeEvery takes in the new samples that lie at least every apart.
func (b *Baseline) takeEvery(every time.Duration, samples []plan.Sample) {
	for _, sample := range samples {
		if sample.Lost || !sample.At.After(b.Taken) || sample.At.Sub(b.Taken) < every {
			continue
		}
		if b.Base == 0 || sample.RTT < b.Base {
			b.Base = sample.RTT
		}
		b.Delays = append(b.Delays, sample.RTT)
		b.Taken = sample.At
	}
}

func (b *Baseline) keep(n int) {
	if extra := len(b.Delays) - n; extra > 0 {
		b.Delays = b.Delays[extra:]
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

// bounds are a sender's floor and ceiling, or the law's where it has none.
func bounds(s plan.Sender, floor, ceiling bitrate.Rate) (bitrate.Rate, bitrate.Rate) {
	if s.Min != 0 {
		floor = s.Min
	}
	if s.Max != 0 {
		ceiling = s.Max
	}
	return floor, max(floor, ceiling)
}

// inForce is a sender's limit, or its ceiling where it has none.
func inForce(s plan.Sender, ceiling bitrate.Rate) bitrate.Rate {
	if s.Limit == 0 {
		return ceiling
	}
	return s.Limit
}

// change records a new limit unless it is the old one.
func change(limits []plan.Limit, s plan.Sender, to bitrate.Rate) []plan.Limit {
	if to == s.Limit {
		return limits
	}
	return append(limits, plan.Limit{Pod: s.Pod, From: s.Limit, To: to})
}
