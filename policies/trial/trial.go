// Package trial tries one policy against another: on which pods they decide
// otherwise, and in which fields.
package trial

import (
	"context"
	"errors"

	"github.com/detnet/detnet/policies"
)

// Subject is one pod to try a set on, and where it comes from.
type Subject struct {
	Source string
	Input  policies.Input
}

// Difference is how two sets decide on one pod.
type Difference struct {
	Source  string   `json:"source"`
	Changes []Change `json:"changes,omitempty"`
	// Error says that the second set could not decide.
	Error string `json:"error,omitempty"`
	// Slow says that it took too long (policies.ErrSlow).
	Slow bool `json:"-"`
}

// Run decides on every subject by both engines and returns those on which
// they differ. A pod on which the first fails too is no difference.
func Run(ctx context.Context, from, to *policies.Engine, subjects []Subject) ([]Difference, error) {
	var out []Difference
	for _, s := range subjects {
		before, errBefore := from.Decide(ctx, s.Input)
		after, errAfter := to.Decide(ctx, s.Input)
		if err := ctx.Err(); err != nil {
			return out, err
		}
		switch {
		case errAfter != nil && errBefore == nil:
			out = append(out, Difference{Source: s.Source, Error: errAfter.Error(), Slow: errors.Is(errAfter, policies.ErrSlow)})
		case errAfter == nil:
			if changes := Compare(before, after); len(changes) > 0 {
				out = append(out, Difference{Source: s.Source, Changes: changes})
			}
		}
	}
	return out, nil
}
