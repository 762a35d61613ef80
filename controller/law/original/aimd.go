package original

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// AIMDConfig tunes the original asymmetric controller.
type AIMDConfig struct {
	Probe    time.Duration `yaml:"probe"`    // one sample is taken each
	Interval time.Duration `yaml:"interval"` // between decisions
	Window   int           `yaml:"window"`   // samples in the interquartile range
	Decrease float64       `yaml:"decrease"` // share taken on violation
	Increase bitrate.Rate  `yaml:"increase"` // added when all is well
	// Severity is the most by which a violation may deepen a cut: measured over
	// target times Decrease. 1 keeps every cut as deep as the original's.
	Severity float64      `yaml:"severity"`
	Min      bitrate.Rate `yaml:"min"` // for senders without a floor
	Max      bitrate.Rate `yaml:"max"` // for senders without a ceiling
}

// DefaultAIMD are the constants of the original's asymmetric controller.
func DefaultAIMD() AIMDConfig {
	return AIMDConfig{
		Probe: 500 * time.Millisecond, Interval: 2 * time.Second, Window: 20,
		Decrease: 0.20, Increase: 10 * bitrate.Mbit, Severity: 1,
		Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
	}
}

// AIMD reproduces the original asymmetric controller to the number, so that it
// can be measured against: whole Mbit/s, an interquartile range as "jitter",
// no jitter below five samples, apps measured over TCP only watched.
type AIMD struct{ AIMDConfig }

// Step is one step of it.
func (l AIMD) Step(s State, o plan.Observation) (State, plan.Plan) {
	next := s.look(o.Apps, l.Probe, l.Window)
	for i := range next.Baselines {
		if b := &next.Baselines[i]; o.At.Sub(b.Taken) > l.Interval+l.Probe {
			b.Delays = nil // what was measured says nothing of now
		}
	}
	p := plan.Plan{At: o.At}
	if !due(&next, o.At, l.Interval) {
		return next, p
	}
	r := l.decide(o.Apps, next.Baselines)
	p.Reasons = []plan.Reason{r}
	p.Limits = limits(o.Senders, l.Min, l.Max, 0, func(from bitrate.Rate) bitrate.Rate {
		switch r.Action {
		case plan.Cut:
			whole := int64(from.Mbit())
			share := min(l.Decrease*severity(r, l.Severity), 1)
			return bitrate.Rate(whole-int64(share*float64(whole)+1e-9)) * bitrate.Mbit
		case plan.Grow:
			return from + l.Increase
		}
		return from
	})
	return next, p
}

// decide looks at the apps from the highest priority down: the first in
// violation cuts; all of them below half their maximum grow.
func (l AIMD) decide(apps []plan.App, memory []Baseline) plan.Reason {
	r := plan.Reason{Bottleneck: plan.Cluster, Action: plan.Grow, Cause: plan.Calm, Signal: plan.Jitter}
	judged, rank := 0, 0
	for i, app := range apps {
		if app.Protocol == workload.TCP || app.SLO.Jitter == 0 || len(memory[i].Delays) == 0 {
			continue
		}
		judged++
		jitter, target := interquartile(memory[i].Delays), app.SLO.Jitter
		violated := jitter > target
		switch {
		case violated && r.Action == plan.Cut && app.Rank <= rank:
			continue // a more important one has spoken
		case violated:
			r.Action, r.Cause = plan.Cut, plan.Violation
		case r.Action == plan.Cut:
			continue
		case 2*jitter >= target:
			r.Action, r.Cause = plan.Hold, plan.NearTarget
		case r.Action == plan.Hold:
			continue
		}
		rank = app.Rank
		r.App, r.Measured, r.Target, r.Samples = app.Pod, jitter, target, len(memory[i].Delays)
	}
	if judged == 0 {
		r.Action, r.Cause = plan.Hold, plan.Blind
	}
	return r
}

// severity is how many times deeper than usual a cut is to be: as many times as
// the measured jitter is the target, from 1 to most. The original had settings
// for it without a formula; this is the proportional one.
func severity(r plan.Reason, most float64) float64 {
	return min(max(float64(r.Measured)/float64(r.Target), 1), most)
}

// interquartile is sorted[⌊3n/4⌋] − sorted[⌊n/4⌋], and 0 below five samples.
func interquartile(delays []time.Duration) time.Duration {
	n := len(delays)
	if n < 5 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(delays))
	return sorted[3*n/4] - sorted[n/4]
}
