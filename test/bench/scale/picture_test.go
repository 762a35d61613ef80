package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example are the figures of two runs.
func example() []Figures {
	of := func(nodes int, k float64) Figures {
		return Figures{
			Nodes: nodes, LeaderCores: 0.07 * k, LeaderWaits: 0.2 * k, LeaderMiB: 60 + 25*k, StandbyMiB: 55 + 5*k,
			Onsets:      []Onset{{Cut: 1, CutP99: 0.11}, {Cut: 3, CutP99: 0.18 * k}, {}},
			Churn:       Churn{LagP50: 0.02, LagP99: 0.3 * k},
			Admission:   Admission{Cached: 10_000, WithP50Ms: 6, WithP99Ms: 15 + k, WithoutP99Ms: 9 + k},
			ChangeLease: 1.5, ChangeDecision: 1.6 * k, ChangeAllNodes: 1.7 * k,
		}
	}
	return []Figures{of(10, 0.5), of(30, 1), of(100, 2)}
}

// The picture has a panel for all that is measured against the number of nodes, also of
// a single run.
func TestPicture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scale.svg")
	for _, runs := range [][]Figures{example()[:1], example()} {
		if err := drawAll(path, runs); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, panel := range panels {
			if !strings.Contains(string(text), panel.title) {
				t.Errorf("%d runs: no panel %q", len(runs), panel.title)
			}
		}
	}
}
