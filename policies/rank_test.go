package policies

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A class that means nothing, or the opposite of what it should, is not good.
func TestClassesThatMeanNothingAreRefused(t *testing.T) {
	for data, says := range map[string]string{
		"classes: {best-effort: null}": "site.yaml:1: class best-effort: incomplete: null takes no class away",
		"classes:\n  bulk: {bandwidth: {initial: 1M, min: 1M, max: 1M, weight: 1, maxWeight: 1}}": "site.yaml:2: class bulk: incomplete: rank: a class needs one",
		"classes: {standard: {rank: null}}":   "rank: a class needs one",
		"classes: {standrad: {}}":             "rank: a class needs one, such as 50: pods of the lowest are cut first: did you mean standard?",
		"classes: {best-effort: {rank: 200}}": "site.yaml:1: class best-effort: rank: 200 is not below the 100 of protected class critical",
		"classes: {best-effort: {rank: 100}}": "is not below",
		"classes: {critical: {rank: 5}}":      "class best-effort: rank: 10 is not below the 5 of protected class critical",
	} {
		_, err := Compile(t.Context(), Set{"site.yaml": data}.Over(Default()))
		if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", data, err, says)
		}
	}
}

func TestPriorityClassesOfAPolicy(t *testing.T) {
	e := mustLoad(t, Set{"site.yaml": "classes: {high: {priorityClassName: ours}}"})
	if got := e.PriorityClasses(); !slices.Equal(got, []string{"detnet-best-effort", "detnet-critical", "ours"}) {
		t.Errorf("%v", got)
	}
}
