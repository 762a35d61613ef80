package law

import (
	"errors"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Config holds the constants of every law, so that a configuration file can
// keep all of them while the law in use is chosen elsewhere.
type Config struct {
	Adaptive AdaptiveConfig `yaml:"adaptive"`
	AIMD     AIMDConfig     `yaml:"aimd"`
	Step     StepConfig     `yaml:"step"`
}

// AdaptiveConfig tunes the adaptive law.
type AdaptiveConfig struct {
	// Window is how much of the newest samples of a session a decision looks
	// at, and MinSamples how many must be in it; fewer are "blind".
	Window     time.Duration `yaml:"window"`
	MinSamples int           `yaml:"minSamples"`
	// Stale is the age at which the newest sample says nothing any more.
	Stale time.Duration `yaml:"stale"`
	// Soft is the share of a target that a standing queue may take before
	// the law acts; Calm is the share of that below which it may raise.
	Soft float64 `yaml:"soft"`
	Calm float64 `yaml:"calm"`
	// LossWindow is the time over which lost probes are counted. Without a
	// loss target of its own an app is in violation above LossShare.
	LossWindow time.Duration `yaml:"lossWindow"`
	LossShare  float64       `yaml:"lossShare"`

	// Drain is the time in which a cut is to empty the standing queue. It
	// sets the depth of a cut, between MinCut and MaxCut of the usage.
	Drain  time.Duration `yaml:"drain"`
	MinCut float64       `yaml:"minCut"`
	MaxCut float64       `yaml:"maxCut"`
	// Settle is the share of the learned capacity given out once the queue
	// is empty.
	Settle float64 `yaml:"settle"`
	// Fruitless is the number of cuts in a row without effect after which
	// the next suspect is tried or the limits are restored; Backoff is how
	// long the law then stays away, doubling each time up to MaxBackoff.
	Fruitless  int           `yaml:"fruitless"`
	Backoff    time.Duration `yaml:"backoff"`
	MaxBackoff time.Duration `yaml:"maxBackoff"`

	// Feedback is the delay from patch to effect assumed until it has been
	// measured.
	Feedback time.Duration `yaml:"feedback"`
	// RaiseEvery is the least time between raises, RaiseStep the first step
	// of a probe for more capacity; steps double while they succeed, up to
	// MaxRaise. ProbeEvery is the time between such probes once capacity is
	// known, doubling while it proves to be unchanged up to MaxProbeEvery.
	RaiseEvery    time.Duration `yaml:"raiseEvery"`
	RaiseStep     float64       `yaml:"raiseStep"`
	MaxRaise      float64       `yaml:"maxRaise"`
	ProbeEvery    time.Duration `yaml:"probeEvery"`
	MaxProbeEvery time.Duration `yaml:"maxProbeEvery"`
	// RebalanceEvery is the least time between two shifts of bandwidth from
	// senders that do not use theirs to senders that do.
	RebalanceEvery time.Duration `yaml:"rebalanceEvery"`

	// Blind says what to do without samples: hold, assume or decrease.
	// Assume is the delay variation taken for granted in the second case.
	Blind  BlindPolicy   `yaml:"blind"`
	Assume time.Duration `yaml:"assume"`
}

// BlindPolicy is what the adaptive law does while it sees nothing.
type BlindPolicy string

// The blind policies.
const (
	BlindHold     BlindPolicy = "hold"     // keep every limit
	BlindAssume   BlindPolicy = "assume"   // go on as if Assume had been measured
	BlindDecrease BlindPolicy = "decrease" // take MinCut every second
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

// StepConfig tunes the original proportional controller.
type StepConfig struct {
	Interval time.Duration `yaml:"interval"` // between decisions
	Target   time.Duration `yaml:"target"`   // for apps without a jitter target
	Decrease bitrate.Rate  `yaml:"decrease"`
	Increase bitrate.Rate  `yaml:"increase"`
	// Severity is as in aimd.
	Severity float64       `yaml:"severity"`
	Least    bitrate.Rate  `yaml:"least"`  // smaller changes are not written
	Assume   time.Duration `yaml:"assume"` // what is taken for granted without samples
	Min      bitrate.Rate  `yaml:"min"`
	Max      bitrate.Rate  `yaml:"max"`
}

// MaxSeverity is the largest severity that aimd and step take.
const MaxSeverity = 10

// DefaultConfig returns the constants that docs/control-law.md explains.
func DefaultConfig() Config {
	return Config{
		Adaptive: AdaptiveConfig{
			Window: 250 * time.Millisecond, MinSamples: 6, Stale: 600 * time.Millisecond,
			Soft: 0.5, Calm: 0.7,
			LossWindow: 2 * time.Second, LossShare: 0.1,
			Drain: 120 * time.Millisecond, MinCut: 0.04, MaxCut: 0.5, Settle: 0.97,
			Fruitless: 3, Backoff: time.Minute, MaxBackoff: 16 * time.Minute,
			Feedback:   300 * time.Millisecond,
			RaiseEvery: time.Second, RaiseStep: 0.02, MaxRaise: 0.3,
			ProbeEvery: 2 * time.Minute, MaxProbeEvery: 16 * time.Minute,
			RebalanceEvery: 4 * time.Second,
			Blind:          BlindHold, Assume: 500 * time.Microsecond,
		},
		AIMD: AIMDConfig{
			Probe: 500 * time.Millisecond, Interval: 2 * time.Second, Window: 20,
			Decrease: 0.20, Increase: 10 * bitrate.Mbit, Severity: 1,
			Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
		},
		Step: StepConfig{
			Interval: 5 * time.Second, Target: time.Millisecond,
			Decrease: 50 * bitrate.Mbit, Increase: 10 * bitrate.Mbit, Severity: 1, Least: 5 * bitrate.Mbit,
			Assume: 500 * time.Microsecond,
			Min:    10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
		},
	}
}

// Validate reports every field that is out of its range, by its path in the
// configuration file and with the range.
func (c Config) Validate() error {
	return errors.Join(c.Adaptive.validate(), c.AIMD.validate(), c.Step.validate())
}

func (c AdaptiveConfig) validate() error {
	const ms, s, h = time.Millisecond, time.Second, time.Hour
	errs := []error{
		within("adaptive.window", c.Window, 20*ms, 10*s),
		within("adaptive.minSamples", c.MinSamples, 3, 1000),
		within("adaptive.stale", c.Stale, 100*ms, 60*s),
		within("adaptive.soft", c.Soft, 0.05, 1),
		within("adaptive.calm", c.Calm, 0.05, 1),
		within("adaptive.lossWindow", c.LossWindow, 100*ms, 60*s),
		within("adaptive.lossShare", c.LossShare, 0.001, 1),
		within("adaptive.drain", c.Drain, 10*ms, 10*s),
		within("adaptive.minCut", c.MinCut, 0.01, 0.5),
		within("adaptive.maxCut", c.MaxCut, max(c.MinCut, 0.05), 0.9),
		within("adaptive.settle", c.Settle, 0.5, 1),
		within("adaptive.fruitless", c.Fruitless, 2, 20),
		within("adaptive.backoff", c.Backoff, s, h),
		within("adaptive.maxBackoff", c.MaxBackoff, c.Backoff, 24*h),
		within("adaptive.feedback", c.Feedback, 10*ms, 30*s),
		within("adaptive.raiseEvery", c.RaiseEvery, 100*ms, 60*s),
		within("adaptive.raiseStep", c.RaiseStep, 0.005, 0.5),
		within("adaptive.maxRaise", c.MaxRaise, c.RaiseStep, 1),
		within("adaptive.probeEvery", c.ProbeEvery, s, h),
		within("adaptive.maxProbeEvery", c.MaxProbeEvery, c.ProbeEvery, 24*h),
		within("adaptive.rebalanceEvery", c.RebalanceEvery, 500*ms, h),
		within("adaptive.assume", c.Assume, 0, 10*s),
	}
	switch c.Blind {
	case BlindHold, BlindAssume, BlindDecrease:
	default:
		errs = append(errs, fmt.Errorf("adaptive.blind: %q must be %s, %s or %s", c.Blind, BlindHold, BlindAssume, BlindDecrease))
	}
	return errors.Join(errs...)
}

func (c AIMDConfig) validate() error {
	return errors.Join(
		within("aimd.probe", c.Probe, 10*time.Millisecond, time.Minute),
		within("aimd.interval", c.Interval, 100*time.Millisecond, time.Hour),
		within("aimd.window", c.Window, 5, 1000),
		within("aimd.decrease", c.Decrease, 0.01, 0.9),
		within("aimd.increase", c.Increase, bitrate.Mbit, bitrate.Max),
		within("aimd.severity", c.Severity, 1, MaxSeverity),
		within("aimd.min", c.Min, bitrate.Min, bitrate.Max),
		within("aimd.max", c.Max, max(c.Min, bitrate.Min), bitrate.Max),
	)
}

func (c StepConfig) validate() error {
	return errors.Join(
		within("step.interval", c.Interval, 100*time.Millisecond, time.Hour),
		within("step.target", c.Target, 10*time.Microsecond, 10*time.Second),
		within("step.decrease", c.Decrease, bitrate.Mbit, bitrate.Max),
		within("step.increase", c.Increase, bitrate.Mbit, bitrate.Max),
		within("step.severity", c.Severity, 1, MaxSeverity),
		within("step.least", c.Least, 0, bitrate.Max),
		within("step.assume", c.Assume, 0, 10*time.Second),
		within("step.min", c.Min, bitrate.Min, bitrate.Max),
		within("step.max", c.Max, max(c.Min, bitrate.Min), bitrate.Max),
	)
}

// within reports v outside [low, high]; NaN is outside everything.
func within[T int | float64 | time.Duration | bitrate.Rate](path string, v, low, high T) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("%s: %v must be from %v to %v", path, v, low, high)
}
