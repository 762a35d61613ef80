// Package law holds the control laws: pure functions from what was observed,
// and what is remembered, to what should be done. No law reads a clock, logs or
// starts a goroutine; Observation.At is the only time there is, so a law runs
// the same in the controller, in the simulator and in a test.
package law

import (
	"fmt"
	"slices"
	"strings"
	"time"

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
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no law is named %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return tuned{name, cfg}, nil
}

// tuned is a law with its constants, and those by which what it is shown is
// judged. Two are equal that decide alike: settings are compared by it.
type tuned struct {
	name   string
	config Config
}

func (l tuned) Name() string { return l.name }

func (l tuned) Step(s State, v sense.View) (State, plan.Plan) {
	next := State{At: v.At}
	var p plan.Plan
	switch l.name {
	case AIMD:
		next.Original, p = original.AIMD{AIMDConfig: l.config.AIMD}.Step(s.Original, v.Observation)
	case Stepwise:
		next.Original, p = original.Step{StepConfig: l.config.Step}.Step(s.Original, v.Observation)
	default:
		next.Adaptive, p = adaptive.Step(l.config.Adaptive, s.Adaptive, v)
	}
	return next, p
}

// SenseOf is how what l is shown is to be judged.
func SenseOf(l Law) sense.Config {
	if l, ok := l.(tuned); ok {
		return l.config.Adaptive.Sense
	}
	return sense.DefaultConfig()
}

// State is all that a law remembers between steps. It is a plain value: it can
// be stored, compared and printed, and a Step never changes the one it got.
// What must survive a restart is not here but in the limits themselves.
type State struct {
	At       time.Time // of the step that made it
	Adaptive adaptive.State
	Original original.State // of aimd and step
}

// Part is what s remembers of the uplinks of some nodes, and of the senders and apps in o:
// those behind them, and those that have a say there. The originals know no uplinks.
func (s State) Part(o plan.Observation, nodes func(string) bool) State {
	return State{At: s.At, Adaptive: s.Adaptive.Part(o, nodes), Original: s.Original}
}

// Run is a law in use with all that is remembered, for who drives one alone.
type Run struct {
	Law   Law
	State State
	Sense sense.Memory
}

// Step has the law look at o, whose sessions get their bases.
func (r *Run) Step(o plan.Observation) plan.Plan {
	var p plan.Plan
	r.State, p = r.Law.Step(r.State, r.Sense.Observe(SenseOf(r.Law), o))
	r.Sense.Learn(p)
	return p
}
