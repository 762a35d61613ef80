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

// Common is what both are tuned by.
type Common struct {
	Interval time.Duration `yaml:"interval"` // between decisions
	Increase bitrate.Rate  `yaml:"increase"` // added when all is well
	// Severity is the most by which a violation may deepen a cut: measured over
	// target times Decrease. 1 keeps every cut as deep as the original's.
	Severity float64      `yaml:"severity"`
	Min      bitrate.Rate `yaml:"min"` // for senders without a floor
	Max      bitrate.Rate `yaml:"max"` // for senders without a ceiling
}

// common are the constants of both originals, but for how often they decide.
func common(interval time.Duration) Common {
	return Common{Interval: interval, Increase: 10 * bitrate.Mbit, Severity: 1, Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit}
}

// wholeMbit leaves out what is less than a Mbit/s, as the originals' steps do.
func wholeMbit(mbit float64) bitrate.Rate { return bitrate.Rate(mbit+1e-9) * bitrate.Mbit }

// MaxSeverity is the largest severity that aimd and step take.
const MaxSeverity = 10

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

// rule is what the two differ in: what they decide, and what a cut leaves of a limit that is
// so many times deeper than usual.
type rule interface {
	decide(apps []plan.App, memory []Baseline) plan.Reason
	cut(limit bitrate.Rate, deeper float64) bitrate.Rate
}

// act decides once in an interval, and plans the changes of limits that are not less than
// least. The first step only starts the clock.
func (c Common) act(s *State, o plan.Observation, by rule, least bitrate.Rate) plan.Plan {
	p := plan.Plan{At: o.At}
	first := s.ActedAt.IsZero()
	if !first && o.At.Sub(s.ActedAt) < c.Interval {
		return p
	}
	s.ActedAt = o.At
	if first {
		return p
	}
	r := by.decide(o.Apps, s.Baselines)
	p.Reasons = []plan.Reason{r}
	// Of how to deepen a cut the original had settings without a formula; this is the
	// proportional one.
	deeper := min(max(float64(r.Measured)/float64(r.Target), 1), c.Severity)
	for _, sender := range o.Senders {
		low := cmp.Or(sender.Min, c.Min)
		high := max(low, cmp.Or(sender.Max, c.Max))
		from := cmp.Or(sender.Limit, high)
		to := from
		switch r.Action {
		case plan.Cut:
			to = by.cut(from, deeper)
		case plan.Grow:
			to += c.Increase
		}
		to = min(max(to, low), high)
		if to != sender.Limit && max(to-from, from-to) >= least {
			p.Limits = append(p.Limits, plan.Limit{Pod: sender.Pod, From: sender.Limit, To: to})
		}
	}
	return p
}
