package policies

import (
	"errors"
	"fmt"
	"slices"
)

// errIncomplete marks a class that lacks what has no default.
var errIncomplete = errors.New("incomplete")

// complete refuses a class that is null, which takes none away: data are merged
// object by object, and a pod that asks for the class would get a nameless rest
// of it. Without a rank it would be cut first of all.
func complete(class any) error {
	if class == nil {
		return fmt.Errorf("%w: null takes no class away; leave the key out, or say in trust.classes who may claim it", errIncomplete)
	}
	fields, ok := class.(map[string]any)
	if !ok {
		return nil // strictly says so
	}
	if rank, ok := fields["rank"]; !ok || rank == nil {
		return fmt.Errorf("%w: rank: a class needs one, such as 50: pods of the lowest are cut first", errIncomplete)
	}
	return nil
}

// checkRanks refuses classes that are cut and yet rank with, or above, those that
// they are cut for.
func (s Set) checkRanks(classes map[string]classSpec) error {
	for _, name := range sortedKeys(classes) {
		c := classes[name]
		if c.Bandwidth == nil {
			continue
		}
		for _, other := range sortedKeys(classes) {
			if p := classes[other]; p.Protected && c.Rank >= p.Rank {
				return fmt.Errorf("%w: %s class %s: rank: %d is not below the %d of protected class %s, for which its pods are cut", ErrPolicy, s.place("classes", name, "rank"), name, c.Rank, p.Rank, other)
			}
		}
	}
	return nil
}

// PriorityClasses are the PriorityClasses that classes name, sorted. Whether the
// cluster has them only the cluster can say.
func (e *Engine) PriorityClasses() []string {
	var out []string
	for _, c := range e.classes {
		if c.PriorityClassName != "" {
			out = append(out, c.PriorityClassName)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
