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
	Common   `yaml:",inline"`
	Probe    time.Duration `yaml:"probe"`    // one sample is taken each
	Window   int           `yaml:"window"`   // samples in the interquartile range
	Decrease float64       `yaml:"decrease"` // share taken on violation
}

// DefaultAIMD are the constants of the original's asymmetric controller.
func DefaultAIMD() AIMDConfig {
	return AIMDConfig{
		Common: common(2 * time.Second),
		Probe:  500 * time.Millisecond, Window: 20, Decrease: 0.20,
	}
}

// AIMD reproduces the original asymmetric controller to the number, as
// docs/control-law.md describes it.
type AIMD struct{ AIMDConfig }

// Step is one step of it.
func (l AIMD) Step(s State, o plan.Observation) (State, plan.Plan) {
	next := s.look(o.Apps, l.Probe, l.Window)
	for i := range next.Baselines {
		if b := &next.Baselines[i]; o.At.Sub(b.Taken) > l.Interval+l.Probe {
			b.Delays = nil // what was measured says nothing of now
		}
	}
	p := l.act(&next, o, l, 0)
	return next, p
}

func (l AIMD) cut(limit bitrate.Rate, deeper float64) bitrate.Rate {
	whole := wholeMbit(limit.Mbit())
	return whole - wholeMbit(min(l.Decrease*deeper, 1)*whole.Mbit())
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

// interquartile is sorted[⌊3n/4⌋] − sorted[⌊n/4⌋], and 0 below five samples.
func interquartile(delays []time.Duration) time.Duration {
	n := len(delays)
	if n < 5 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(delays))
	return sorted[3*n/4] - sorted[n/4]
}
