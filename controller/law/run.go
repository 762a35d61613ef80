package law

import (
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

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
	r.Sense.Learn(p.Empty)
	return p
}
