package policies

import (
	"context"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Fired is a rule that had a value for a pod.
type Fired struct {
	Rule string `json:"rule"`
	File string `json:"file"`
	Line int    `json:"line"`
}

// Explain decides, and lists by OPA's own tracing the rules that led there, in
// the order in which they got their values.
func (e *Engine) Explain(ctx context.Context, in Input) (Decision, []Fired, error) {
	trace := topdown.NewBufferTracer()
	traced := *e
	traced.options = append(slices.Clone(e.options), rego.EvalQueryTracer(trace))
	d, err := traced.Decide(ctx, in)
	if err != nil {
		return d, nil, err
	}
	var fired []Fired
	for _, event := range *trace {
		rule, ok := event.Node.(*ast.Rule)
		if event.Op != topdown.ExitOp || !ok || rule.Location == nil {
			continue
		}
		f := Fired{Rule: rule.Ref().String(), File: rule.Location.File, Line: rule.Location.Row}
		if !slices.Contains(fired, f) {
			fired = append(fired, f)
		}
	}
	return d, fired, nil
}
