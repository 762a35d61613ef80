package law

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// transitions reads the table of phases in docs/control-law.md.
func transitions(t *testing.T) map[plan.Phase][]plan.Phase {
	t.Helper()
	text, err := os.ReadFile("../../docs/control-law.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "| phase | what it is | goes to |\n|---|---|---|\n")
	if !found {
		t.Fatal("docs/control-law.md has no table of phases")
	}
	table := map[plan.Phase][]plan.Phase{}
	for line := range strings.Lines(rest) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			break
		}
		from := plan.Phase(strings.TrimSpace(cells[1]))
		for to := range strings.SplitSeq(cells[3], ",") {
			switch to = strings.TrimSpace(to); to {
			case "the phase before":
				table[from] = append(table[from], plan.Phases()...)
			default:
				table[from] = append(table[from], plan.Phase(to))
			}
		}
	}
	return table
}

// The table names every phase, and nothing that is none.
func TestTheTableNamesThePhases(t *testing.T) {
	table := transitions(t)
	if len(table) != len(plan.Phases()) {
		t.Errorf("the table has %d phases, want %d", len(table), len(plan.Phases()))
	}
	known := map[plan.Phase]bool{}
	for _, p := range plan.Phases() {
		known[p] = true
		if len(table[p]) == 0 {
			t.Errorf("nothing follows %s", p)
		}
	}
	for from, all := range table {
		for _, to := range all {
			if !known[from] || !known[to] {
				t.Errorf("%s → %s: one of them is no phase", from, to)
			}
		}
	}
}

// Whatever the network does, one phase follows another as the table says.
func TestPhasesFollowTheTable(t *testing.T) {
	table := transitions(t)
	steps(t, func(t *rapid.T, _ Law, before State, _ sense.View, after State, _ plan.Plan) {
		for _, b := range after.Adaptive.Budgets {
			for _, was := range before.Adaptive.Budgets {
				if was.Bottleneck == b.Bottleneck && was.Phase != b.Phase && !follows(table, was.Phase, b.Phase) {
					t.Fatalf("%s: %s → %s is not in docs/control-law.md", b.Bottleneck, was.Phase, b.Phase)
				}
			}
		}
	})
}

// follows reports whether a step may lead from one phase to another: a cut that has
// shown is draining, and may be settled, in the same step.
func follows(table map[plan.Phase][]plan.Phase, from, to plan.Phase) bool {
	if slices.Contains(table[from], to) {
		return true
	}
	return from == plan.Cutting && (slices.Contains(table[plan.Draining], to) || slices.Contains(table[plan.Testing], to))
}
