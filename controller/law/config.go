package law

import (
	"errors"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/adaptive"
	"github.com/detnet/detnet/controller/law/original"
)

// Config holds the constants of every law, so that a configuration file can
// keep all of them while the law in use is chosen elsewhere.
type Config struct {
	Adaptive adaptive.Config     `yaml:"adaptive"`
	AIMD     original.AIMDConfig `yaml:"aimd"`
	Step     original.StepConfig `yaml:"step"`
}

// DefaultConfig returns the constants that docs/control-law.md explains.
func DefaultConfig() Config {
	return Config{Adaptive: adaptive.DefaultConfig(), AIMD: original.DefaultAIMD(), Step: original.DefaultStep()}
}

// Validate reports every field that is out of its range, by its path in the
// configuration file and with the range.
func (c Config) Validate() error {
	return errors.Join(validateAdaptive(c.Adaptive), validateAIMD(c.AIMD), validateStep(c.Step))
}

func validateAdaptive(c adaptive.Config) error {
	const ms, s, h = time.Millisecond, time.Second, time.Hour
	errs := []error{
		within("adaptive.window", c.Sense.Window, 20*ms, 10*s),
		within("adaptive.minSamples", c.Sense.MinSamples, 3, 1000),
		within("adaptive.stale", c.Sense.Stale, 100*ms, 60*s),
		within("adaptive.soft", c.Sense.Soft, 0.05, 1),
		within("adaptive.calm", c.Sense.Calm, 0.05, 1),
		within("adaptive.lossWindow", c.Sense.LossWindow, 100*ms, 60*s),
		within("adaptive.lossShare", c.Sense.LossShare, 0.001, 1),
		within("adaptive.drain", c.Budget.Drain, 10*ms, 10*s),
		within("adaptive.minCut", c.Budget.MinCut, 0.01, 0.5),
		within("adaptive.maxCut", c.Budget.MaxCut, max(c.Budget.MinCut, 0.05), 0.9),
		within("adaptive.settle", c.Budget.Settle, 0.5, 1),
		within("adaptive.fruitless", c.Budget.Fruitless, 2, 20),
		within("adaptive.backoff", c.Blame.Backoff, s, h),
		within("adaptive.maxBackoff", c.Blame.MaxBackoff, c.Blame.Backoff, 24*h),
		within("adaptive.harmShare", c.Blame.HarmShare, 0, 1),
		within("adaptive.harm", c.Blame.Harm, s, 24*h),
		within("adaptive.harmWindow", c.Blame.HarmWindow, c.Blame.Harm, 7*24*h),
		within("adaptive.feedback", c.Budget.Feedback, 10*ms, 30*s),
		within("adaptive.raiseEvery", c.Budget.RaiseEvery, 100*ms, 60*s),
		within("adaptive.raiseStep", c.Budget.RaiseStep, 0.005, 0.5),
		within("adaptive.maxRaise", c.Budget.MaxRaise, c.Budget.RaiseStep, 1),
		within("adaptive.probeEvery", c.Budget.ProbeEvery, s, h),
		within("adaptive.maxProbeEvery", c.Budget.MaxProbeEvery, c.Budget.ProbeEvery, 24*h),
		within("adaptive.rebalanceEvery", c.Limits.RebalanceEvery, 500*ms, h),
		within("adaptive.assume", c.Assume, 0, 10*s),
	}
	switch c.Blind {
	case adaptive.BlindHold, adaptive.BlindAssume, adaptive.BlindDecrease:
	default:
		errs = append(errs, fmt.Errorf("adaptive.blind: %q must be %s, %s or %s", c.Blind, adaptive.BlindHold, adaptive.BlindAssume, adaptive.BlindDecrease))
	}
	return errors.Join(errs...)
}

func validateAIMD(c original.AIMDConfig) error {
	return errors.Join(
		validateCommon("aimd.", c.Common),
		within("aimd.probe", c.Probe, 10*time.Millisecond, time.Minute),
		within("aimd.window", c.Window, 5, 1000),
		within("aimd.decrease", c.Decrease, 0.01, 0.9),
	)
}

func validateStep(c original.StepConfig) error {
	return errors.Join(
		validateCommon("step.", c.Common),
		within("step.target", c.Target, 10*time.Microsecond, 10*time.Second),
		within("step.decrease", c.Decrease, bitrate.Mbit, bitrate.Max),
		within("step.least", c.Least, bitrate.Min, bitrate.Max),
		within("step.assume", c.Assume, 0, 10*time.Second),
	)
}

func validateCommon(path string, c original.Common) error {
	return errors.Join(
		within(path+"interval", c.Interval, 100*time.Millisecond, time.Hour),
		within(path+"increase", c.Increase, bitrate.Mbit, bitrate.Max),
		within(path+"severity", c.Severity, 1, original.MaxSeverity),
		within(path+"min", c.Min, bitrate.Min, bitrate.Max),
		within(path+"max", c.Max, max(c.Min, bitrate.Min), bitrate.Max),
	)
}

// within reports v outside [low, high]; NaN is outside everything.
func within[T int | float64 | time.Duration | bitrate.Rate](path string, v, low, high T) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("%s: %v must be from %v to %v", path, v, low, high)
}
