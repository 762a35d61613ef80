package adaptive

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/limits"
	"github.com/detnet/detnet/controller/sense"
)

// Config tunes the adaptive law.
type Config struct {
	Sense  sense.Config  `yaml:",inline"`
	Budget budget.Config `yaml:",inline"`
	Blame  blame.Config  `yaml:",inline"`
	Limits limits.Config `yaml:",inline"`
	// Blind says what to do without samples: hold, assume or decrease.
	Blind BlindPolicy `yaml:"blind"`
	// Assume is the delay above base that is taken for granted under assume.
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

// DefaultConfig returns the constants that docs/control-law.md explains.
func DefaultConfig() Config {
	return Config{
		Sense: sense.DefaultConfig(),
		Budget: budget.Config{
			Drain: 60 * time.Millisecond, MinCut: 0.04, MaxCut: 0.5, Settle: 0.97, Fruitless: 3,
			Feedback:   300 * time.Millisecond,
			RaiseEvery: time.Second, RaiseStep: 0.02, MaxRaise: 0.3,
			ProbeEvery: 2 * time.Minute, MaxProbeEvery: 16 * time.Minute,
		},
		Blame:  blame.Config{Backoff: time.Minute, MaxBackoff: 16 * time.Minute, HarmShare: 0.25, Harm: 2 * time.Minute, HarmWindow: time.Hour},
		Limits: limits.Config{RebalanceEvery: 4 * time.Second, Writes: 20},
		Blind:  BlindHold, Assume: 500 * time.Microsecond,
	}
}

// assume fills in what nobody sees, where that is wanted.
func (c Config) assume(v sense.View) sense.View {
	if c.Blind != BlindAssume {
		return v
	}
	v.Verdicts = slices.Clone(v.Verdicts)
	for i := range v.Verdicts {
		if v.Verdicts[i].Blind {
			v.Verdicts[i] = c.Sense.Assume(&v.Apps[i], c.Assume)
		}
	}
	return v
}
