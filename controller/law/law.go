// Package law holds the control laws: pure functions from what was observed,
// and what is remembered, to what should be done. No law reads a clock, logs or
// starts a goroutine; Observation.At is the only time there is, so a law runs
// the same in the controller, in the simulator and in a test.
package law

import (
	"fmt"
	"strings"

	"github.com/detnet/detnet/controller/law/adaptive"
	"github.com/detnet/detnet/controller/law/original"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Law turns observations into plans. The zero State is a valid start: budgets
// are read back from the limits in force, and nothing jumps. Step does not
// change the State it is given; it may keep what the View holds no longer than
// the call.
type Law interface {
	Name() string
	Step(s State, v sense.View) (State, plan.Plan)
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
	senses := senses(cfg.Adaptive.Sense)
	switch name {
	case Adaptive:
		return adaptiveLaw{cfg.Adaptive, senses}, nil
	case AIMD:
		return aimdLaw{original.AIMD{AIMDConfig: cfg.AIMD}, senses}, nil
	case Stepwise:
		return stepLaw{original.Step{StepConfig: cfg.Step}, senses}, nil
	}
	return nil, fmt.Errorf("no law is named %q: want one of %s", name, strings.Join(Names(), ", "))
}

// senses are the constants by which what a law is shown is judged.
type senses sense.Config

func (s senses) sensing() sense.Config { return sense.Config(s) }

// SenseOf is how what l is shown is to be judged.
func SenseOf(l Law) sense.Config {
	if tuned, ok := l.(interface{ sensing() sense.Config }); ok {
		return tuned.sensing()
	}
	return sense.DefaultConfig()
}

type adaptiveLaw struct {
	config adaptive.Config
	senses
}

func (adaptiveLaw) Name() string { return Adaptive }

func (l adaptiveLaw) Step(s State, v sense.View) (State, plan.Plan) {
	next, p := adaptive.Step(l.config, s.Adaptive, v)
	return State{At: v.At, Adaptive: next}, p
}

type aimdLaw struct {
	law original.AIMD
	senses
}

func (aimdLaw) Name() string { return AIMD }

func (l aimdLaw) Step(s State, v sense.View) (State, plan.Plan) {
	next, p := l.law.Step(s.Original, v.Observation)
	return State{At: v.At, Original: next}, p
}

type stepLaw struct {
	law original.Step
	senses
}

func (stepLaw) Name() string { return Stepwise }

func (l stepLaw) Step(s State, v sense.View) (State, plan.Plan) {
	next, p := l.law.Step(s.Original, v.Observation)
	return State{At: v.At, Original: next}, p
}
