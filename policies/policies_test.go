package policies

import (
	"testing"
)

// TestDefaultSet runs the Rego tests that ship with the default set.
func TestDefaultSet(t *testing.T) {
	results, err := Test(t.Context(), Default())
	if err != nil {
		t.Fatal(err)
	}
	if len(results) < 15 {
		t.Errorf("only %d tests ran", len(results))
	}
	for _, r := range results {
		if r.Failed {
			t.Errorf("%s:%d %s failed: %v\n%s", r.File, r.Line, r.Name, r.Err, r.Output)
		}
	}
}
