package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/score"
)

// Row is the median of the seeds of one scenario under one law.
type Row struct {
	sim.Score
	Seed     *uint64 `json:"seed,omitempty"` // none: a median is of no one seed
	OfOracle float64 `json:"of_oracle"`      // goodput relative to the oracle's, 0 without one
	Taken    float64 `json:"taken"`          // goodput lost against doing nothing, 0…1
	// Versus is adaptive against the laws of the original, where they ran.
	Versus map[string]score.Versus `json:"versus,omitempty"`
}

// Table is one Row for every scenario and law, in the order of the suite.
func (r *Results) Table() []Row {
	var rows []Row
	for _, scenario := range r.Suite.Scenarios {
		oracle, _ := r.median(scenario.Name, OracleName)
		nothing, _ := r.median(scenario.Name, NothingName)
		for _, name := range r.Suite.Laws {
			own, ok := r.median(scenario.Name, name)
			if !ok {
				continue
			}
			row := Row{Score: own}
			if oracle.Goodput > 0 {
				row.OfOracle = float64(own.Goodput) / float64(oracle.Goodput)
			}
			if nothing.Goodput > 0 {
				row.Taken = max(0, 1-float64(own.Goodput)/float64(nothing.Goodput))
			}
			if name == law.Adaptive {
				row.Versus = r.versus(own)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func (r *Results) versus(own sim.Score) map[string]score.Versus {
	versus := map[string]score.Versus{}
	for _, name := range []string{law.AIMD, law.Stepwise} {
		if other, ok := r.median(own.Scenario, name); ok {
			versus[name] = own.Versus(other.Figures)
		}
	}
	return versus
}

// median takes every figure's own median over the seeds.
func (r *Results) median(scenario, name string) (sim.Score, bool) {
	var scores []sim.Score
	for _, s := range r.Scores {
		if s.Scenario == scenario && s.Law == name {
			scores = append(scores, s)
		}
	}
	if len(scores) == 0 {
		return sim.Score{}, false
	}
	m := sim.Score{Scenario: scenario, Law: name}
	m.Probes = middle(scores, func(s sim.Score) int { return s.Probes })
	m.Late = middle(scores, func(s sim.Score) int { return s.Late })
	m.Violation = middle(scores, func(s sim.Score) float64 { return s.Violation })
	m.Settled = middle(scores, func(s sim.Score) float64 { return s.Settled })
	m.Queued = middle(scores, func(s sim.Score) float64 { return s.Queued })
	m.Goodput = middle(scores, func(s sim.Score) bitrate.Rate { return s.Goodput })
	m.FirstCut = middle(scores, func(s sim.Score) time.Duration { return orNever(s.FirstCut) })
	m.Clean = middle(scores, func(s sim.Score) time.Duration { return orNever(s.Clean) })
	m.Recovery = middle(scores, func(s sim.Score) time.Duration { return orNever(s.Recovery) })
	m.Filled = middle(scores, func(s sim.Score) float64 { return s.Filled })
	m.Jain = middle(scores, func(s sim.Score) float64 { return s.Jain })
	m.PatchRate = middle(scores, func(s sim.Score) float64 { return s.PatchRate })
	m.CalmWrites = middle(scores, func(s sim.Score) int { return s.CalmWrites })
	m.Patches = middle(scores, func(s sim.Score) int { return s.Patches })
	return m, true
}

// never stands for "did not happen" where times are compared.
const never = 24 * time.Hour

func orNever(d time.Duration) time.Duration {
	if d < 0 {
		return never
	}
	return d
}

func middle[T cmp.Ordered](scores []sim.Score, of func(sim.Score) T) T {
	var values []T
	for _, s := range scores {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return quantile.Of(values, 0.5)
}

func seconds(d time.Duration) string {
	if d < 0 || d >= never {
		return "never"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}
