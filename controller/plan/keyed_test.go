package plan

import (
	"slices"
	"testing"
)

func limitsOf(names ...string) (all []Limit) {
	for _, name := range names {
		all = append(all, Limit{Pod: PodID{Namespace: "office", Name: name}})
	}
	return all
}

// What is in order is found by its key, and what is not there is said to be missing.
func TestFindTellsWhereAndWhether(t *testing.T) {
	all := limitsOf("b", "d", "f")
	for name, want := range map[string]int{"a": -1, "b": 0, "c": -1, "d": 1, "f": 2, "g": -1} {
		at, found := Find(all, PodID{Namespace: "office", Name: name})
		if found != (want >= 0) || found && at != want {
			t.Errorf("%s: found %v at %d, want %d", name, found, at, want)
		}
		for likely := range 5 { // wherever it is looked for first
			if at, found := FindNear(all, PodID{Namespace: "office", Name: name}, likely); found != (want >= 0) || found && at != want {
				t.Errorf("%s near %d: found %v at %d, want %d", name, likely, found, at, want)
			}
		}
	}
}

// What is out of order is copied before it is put in order, and else not.
func TestOrderedChangesNothingThatItIsGiven(t *testing.T) {
	mixed, sorted := limitsOf("d", "b", "f"), limitsOf("b", "d", "f")
	if got := Ordered[Limit, PodID](mixed); !slices.Equal(got, sorted) || !slices.Equal(mixed, limitsOf("d", "b", "f")) {
		t.Errorf("%v of %v", got, mixed)
	}
	if got := Ordered[Limit, PodID](sorted); &got[0] != &sorted[0] {
		t.Error("what is in order was copied")
	}
}
