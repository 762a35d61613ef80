// Package sense turns samples into judgement: for each path the delay of the
// empty path, for each critical app how much later its packets are than that,
// and whether that breaks its targets. The loop asks it once a tick; the law, the
// status, its page, metrics and the recording all show what it said.
package sense

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Config says what is looked at.
type Config struct {
	// Window is how much of the newest samples of a session a decision looks
	// at.
	Window time.Duration `yaml:"window"`
	// MinSamples is how many samples must be in the window; fewer are "blind".
	MinSamples int `yaml:"minSamples"`
	// Stale is the age at which the newest sample says nothing any more; a second more
	// while its agent is asked to report less often.
	Stale time.Duration `yaml:"stale"`
	// Soft is the share of a target that a standing queue may take before the
	// law acts.
	Soft float64 `yaml:"soft"`
	// Calm is the share of that below which the law may raise.
	Calm float64 `yaml:"calm"`
	// LossWindow is the time over which lost probes are counted.
	LossWindow time.Duration `yaml:"lossWindow"`
	// LossShare is the share of lost probes above which an app without a loss
	// target of its own is in violation.
	LossShare float64 `yaml:"lossShare"`
}

// DefaultConfig returns the constants that docs/control-law.md explains.
func DefaultConfig() Config {
	return Config{
		Window: 250 * time.Millisecond, MinSamples: 6, Stale: 600 * time.Millisecond,
		Soft: 0.5, Calm: 0.7, LossWindow: 2 * time.Second, LossShare: 0.1,
	}
}

// View is an observation and what sense makes of it.
type View struct {
	plan.Observation
	Verdicts []Verdict // of each app, by all of its samples
	// Elsewhere is there where the observation is a recorded part of a cluster.
	Elsewhere *plan.Elsewhere
}

// Judge says what each app of an observation suffers. Bases must be known.
func Judge(c Config, o plan.Observation) View {
	v := View{Observation: o, Verdicts: make([]Verdict, len(o.Apps))}
	for i := range o.Apps {
		v.Verdicts[i] = c.Judge(&o.Apps[i], time.Time{}, o.At)
	}
	return v
}
