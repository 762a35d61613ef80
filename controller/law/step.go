package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// maxStepSamples bounds what step keeps of one app between two decisions.
const maxStepSamples = 1000

// step reproduces the original proportional controller to the number: the 95th
// percentile against one target, −50M above it, +10M below, nothing at exactly
// the target, changes under 5M not written, and 0.5 ms taken for granted when
// nothing was measured.
type step struct{ StepConfig }

func (step) Name() string { return Stepwise }

func (l step) Step(s State, o plan.Observation) (State, plan.Plan) {
	next := State{At: o.At, ActedAt: s.ActedAt}
	for _, app := range o.Apps {
		b := baseline(s.Baselines, app.Pod)
		b.takeEvery(0, path(app))
		b.keep(maxStepSamples)
		next.Baselines = append(next.Baselines, b)
	}
	p := plan.Plan{At: o.At}
	if !due(&next, o.At, l.Interval) {
		return next, p
	}
	r := l.decide(o.Apps, next.Baselines)
	p.Reasons = []plan.Reason{r}
	for i := range next.Baselines {
		next.Baselines[i].Delays = nil
	}
	for _, sender := range o.Senders {
		floor, ceiling := bounds(sender, l.Min, l.Max)
		from := inForce(sender, ceiling)
		to := from
		switch r.Action {
		case plan.Cut:
			// In whole Mbit/s, as the original's steps are.
			to -= bitrate.Rate(l.Decrease.Mbit()*severity(r, l.Severity)+1e-9) * bitrate.Mbit
		case plan.Grow:
			to += l.Increase
		}
		to = min(max(to, floor), ceiling)
		if max(to-from, from-to) >= l.Least {
			p.Limits = change(p.Limits, sender, to)
		}
	}
	return next, p
}

// decide compares the worst app's 95th percentile of delay variation with its
// target. The original knew one app; the worst one is the natural reading.
func (l step) decide(apps []plan.App, memory []Baseline) plan.Reason {
	r := plan.Reason{Bottleneck: cluster, Signal: "jitter", Measured: l.Assume, Target: l.Target, Cause: plan.Blind}
	worst := -1.0
	for i, app := range apps {
		delays := memory[i].Delays
		if len(delays) == 0 {
			continue
		}
		target := l.Target
		if app.SLO.Jitter != 0 {
			target = app.SLO.Jitter
		}
		sorted := slices.Sorted(slices.Values(delays))
		p95 := sorted[min(len(sorted)*95/100, len(sorted)-1)] - memory[i].Base
		if excess := float64(p95) / float64(target); excess > worst {
			worst = excess
			r.App, r.Measured, r.Target, r.Samples, r.Cause = app.Pod, p95, target, len(sorted), plan.NearTarget
		}
	}
	switch {
	case r.Measured > r.Target:
		r.Action, r.Cause = plan.Cut, plan.Violation
	case r.Measured < r.Target:
		r.Action = plan.Grow
		if r.Cause != plan.Blind {
			r.Cause = plan.Calm
		}
	default:
		r.Action = plan.Hold
	}
	return r
}

// Baseline is what aimd and step remember of one app.
type Baseline struct {
	App    plan.PodID
	Taken  time.Time // when the newest sample taken in was sent
	Base   time.Duration
	Delays []time.Duration // round trips, oldest first
}

func baseline(known []Baseline, app plan.PodID) Baseline {
	for _, b := range known {
		if b.App == app {
			b.Delays = slices.Clone(b.Delays)
			return b
		}
	}
	return Baseline{App: app}
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
