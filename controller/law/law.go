// Package law holds the control laws: pure functions from what was observed,
// and what is remembered, to what should be done. No law reads a clock, logs or
// starts a goroutine; Observation.At is the only time there is, so a law runs
// the same in the controller, in the simulator and in a test.
package law

import (
	"fmt"
	"strings"

	"github.com/detnet/detnet/controller/plan"
)

// Law turns observations into plans. The zero State is a valid start: budgets
// are read back from the limits in force, and nothing jumps. Step does not
// change the State it is given; it may keep what the Observation holds no
// longer than the call.
type Law interface {
	Name() string
	Step(s State, o plan.Observation) (State, plan.Plan)
}

// The laws.
const (
	Adaptive = "adaptive" // the default; see docs/control-law.md
	AIMD     = "aimd"     // the original asymmetric controller: −20 % / +10M every 2 s
	Stepwise = "step"     // the original proportional controller: −50M / +10M every 5 s
)

// Names lists the laws, the default first.
func Names() []string { return []string{Adaptive, AIMD, Stepwise} }

// New returns the law of that name, or an error for a name that is not in
// Names or a Config that does not Validate.
func New(name string, cfg Config) (Law, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure law %q: %w", name, err)
	}
	switch name {
	case Adaptive:
		return adaptive{cfg.Adaptive}, nil
	case AIMD:
		return aimd{cfg.AIMD}, nil
	case Stepwise:
		return step{cfg.Step}, nil
	}
	return nil, fmt.Errorf("no law is named %q: want one of %s", name, strings.Join(Names(), ", "))
}
