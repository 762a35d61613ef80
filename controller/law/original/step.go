package original

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// StepConfig tunes the original proportional controller.
type StepConfig struct {
	Common   `yaml:",inline"`
	Target   time.Duration `yaml:"target"`   // for apps without a jitter target
	Decrease bitrate.Rate  `yaml:"decrease"` // taken above the target
	Least    bitrate.Rate  `yaml:"least"`    // smaller changes are not written
	Assume   time.Duration `yaml:"assume"`   // what is taken for granted without samples; it may cut, and never raises
}

// DefaultStep are the constants of its proportional controller.
func DefaultStep() StepConfig {
	return StepConfig{
		Common: common(5 * time.Second),
		Target: time.Millisecond, Decrease: 50 * bitrate.Mbit, Least: 5 * bitrate.Mbit, Assume: 500 * time.Microsecond,
	}
}

// maxStepSamples bounds what step keeps of one app between two decisions.
const maxStepSamples = 1000

// Step reproduces the original proportional controller to the number, as
// docs/control-law.md describes it.
type Step struct{ StepConfig }

// Step is one step of it.
func (l Step) Step(s State, o plan.Observation) (State, plan.Plan) {
	next := s.look(o.Apps, 0, maxStepSamples)
	p := l.act(&next, o, l, l.Least)
	if len(p.Reasons) > 0 { // the next one begins with new samples
		for i := range next.Baselines {
			next.Baselines[i].Delays = nil
		}
	}
	return next, p
}

func (l Step) cut(limit bitrate.Rate, deeper float64) bitrate.Rate {
	return limit - wholeMbit(l.Decrease.Mbit()*deeper)
}

// decide compares the worst app's 95th percentile of delay variation with its
// target. The original knew one app; the worst one is the natural reading.
func (l Step) decide(apps []plan.App, memory []Baseline) plan.Reason {
	r := plan.Reason{Bottleneck: plan.Cluster, Signal: plan.Jitter, Measured: l.Assume, Target: l.Target, Cause: plan.Blind}
	worst := -1.0
	for i, app := range apps {
		delays := memory[i].Delays
		if len(delays) == 0 {
			continue
		}
		target := cmp.Or(app.SLO.Jitter, l.Target)
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
	case r.Cause == plan.Blind: // what is taken for granted keeps it going, and is no reason to raise
		r.Action = plan.Hold
	case r.Measured < r.Target:
		r.Action, r.Cause = plan.Grow, plan.Calm
	default:
		r.Action = plan.Hold
	}
	return r
}
