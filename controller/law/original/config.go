package original

import (
	"time"

	"github.com/detnet/detnet/bitrate"
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
	Decrease bitrate.Rate  `yaml:"decrease"` // taken above the target
	Increase bitrate.Rate  `yaml:"increase"` // added below it
	// Severity is the most by which a violation may deepen a cut: measured over
	// target times Decrease. 1 keeps every cut as deep as the original's.
	Severity float64       `yaml:"severity"`
	Least    bitrate.Rate  `yaml:"least"`  // smaller changes are not written
	Assume   time.Duration `yaml:"assume"` // what is taken for granted without samples; it may cut, and never raises
	Min      bitrate.Rate  `yaml:"min"`    // for senders without a floor
	Max      bitrate.Rate  `yaml:"max"`    // for senders without a ceiling
}

// MaxSeverity is the largest severity that aimd and step take.
const MaxSeverity = 10

// DefaultAIMD are the constants of the original's asymmetric controller.
func DefaultAIMD() AIMDConfig {
	return AIMDConfig{
		Probe: 500 * time.Millisecond, Interval: 2 * time.Second, Window: 20,
		Decrease: 0.20, Increase: 10 * bitrate.Mbit, Severity: 1,
		Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
	}
}

// DefaultStep are the constants of its proportional controller.
func DefaultStep() StepConfig {
	return StepConfig{
		Interval: 5 * time.Second, Target: time.Millisecond,
		Decrease: 50 * bitrate.Mbit, Increase: 10 * bitrate.Mbit, Severity: 1, Least: 5 * bitrate.Mbit,
		Assume: 500 * time.Microsecond,
		Min:    10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
	}
}
