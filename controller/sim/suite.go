package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
)

// Suite is a set of runs to make: every scenario and trace under every law,
// scenarios with every seed.
type Suite struct {
	Scenarios []Scenario
	Traces    []Trace
	Laws      []string // of law.Names, and "oracle" and "nothing"
	Seeds     []uint64
	Config    law.Config
}

// Names of what is not a law but compared with them.
const (
	OracleName  = "oracle"
	NothingName = "nothing"
)

// Results is what a suite gave.
type Results struct {
	Scores []Score               // one a run
	Shown  map[string][]*Record  // by scenario: the first seed's record under each law
	Traces map[string][]TraceRun // by trace
	Suite  Suite
}

// TraceRun is a trace under one law.
type TraceRun struct {
	Law    string
	Points []TracePoint
}

// Run plays the suite. Progress is called before every run with the number of
// those done and of all.
func (s Suite) Run(ctx context.Context, progress func(done, all int, what string)) (*Results, error) {
	r := &Results{Shown: map[string][]*Record{}, Traces: map[string][]TraceRun{}, Suite: s}
	done, all := 0, len(s.Laws)*(len(s.Scenarios)*len(s.Seeds)+len(s.Traces))
	next := func(what, by string) error {
		progress(done, all, what+" under "+by)
		done++
		return ctx.Err()
	}
	for _, trace := range s.Traces {
		for _, name := range s.Laws {
			if err := next(trace.Name, name); err != nil {
				return nil, err
			}
			if name == OracleName || name == NothingName {
				continue
			}
			l, err := law.New(name, s.Config)
			if err != nil {
				return nil, err
			}
			r.Traces[trace.Name] = append(r.Traces[trace.Name], TraceRun{Law: name, Points: RunTrace(trace, l)})
		}
	}
	for _, scenario := range s.Scenarios {
		for i, seed := range s.Seeds {
			for _, name := range s.Laws {
				if err := next(scenario.Name, name); err != nil {
					return nil, err
				}
				record, err := s.play(scenario, name, seed)
				if err != nil {
					return nil, err
				}
				r.Scores = append(r.Scores, record.Score())
				if i == 0 {
					r.Shown[scenario.Name] = append(r.Shown[scenario.Name], record)
				}
			}
		}
	}
	progress(all, all, "done")
	return r, nil
}

func (s Suite) play(scenario Scenario, name string, seed uint64) (*Record, error) {
	switch name {
	case OracleName:
		return Oracle(scenario, seed), nil
	case NothingName:
		return Run(scenario, Nothing(), seed), nil
	}
	l, err := law.New(name, s.Config)
	if err != nil {
		return nil, err
	}
	return Run(scenario, l, seed), nil
}

// Row is the median of the seeds of one scenario under one law.
type Row struct {
	Score
	OfOracle float64 `json:"of_oracle"` // goodput relative to the oracle's, 0 without one
	Taken    float64 `json:"taken"`     // goodput lost against doing nothing, 0…1
}

// Table is one Row for every scenario and law, in the order of the suite.
func (r *Results) Table() []Row {
	var rows []Row
	for _, scenario := range r.Suite.Scenarios {
		oracle, _ := r.median(scenario.Name, OracleName)
		nothing, _ := r.median(scenario.Name, NothingName)
		for _, name := range r.Suite.Laws {
			score, ok := r.median(scenario.Name, name)
			if !ok {
				continue
			}
			row := Row{Score: score}
			if oracle.Goodput > 0 {
				row.OfOracle = float64(score.Goodput) / float64(oracle.Goodput)
			}
			if nothing.Goodput > 0 {
				row.Taken = max(0, 1-float64(score.Goodput)/float64(nothing.Goodput))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// median takes every figure's own median over the seeds.
func (r *Results) median(scenario, name string) (Score, bool) {
	var scores []Score
	for _, s := range r.Scores {
		if s.Scenario == scenario && s.Law == name {
			scores = append(scores, s)
		}
	}
	if len(scores) == 0 {
		return Score{}, false
	}
	m := Score{Scenario: scenario, Law: name}
	m.Violation = middle(scores, func(s Score) float64 { return s.Violation })
	m.Settled = middle(scores, func(s Score) float64 { return s.Settled })
	m.Queued = middle(scores, func(s Score) float64 { return s.Queued })
	m.Goodput = middle(scores, func(s Score) bitrate.Rate { return s.Goodput })
	m.FirstCut = middle(scores, func(s Score) time.Duration { return orNever(s.FirstCut) })
	m.Clean = middle(scores, func(s Score) time.Duration { return orNever(s.Clean) })
	m.Recovery = middle(scores, func(s Score) time.Duration { return orNever(s.Recovery) })
	m.Jain = middle(scores, func(s Score) float64 { return s.Jain })
	m.PatchRate = middle(scores, func(s Score) float64 { return s.PatchRate })
	m.CalmWrites = middle(scores, func(s Score) int { return s.CalmWrites })
	m.Patches = middle(scores, func(s Score) int { return s.Patches })
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

func middle[T cmp.Ordered](scores []Score, of func(Score) T) T {
	var values []T
	for _, s := range scores {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func seconds(d time.Duration) string {
	if d < 0 || d >= never {
		return "never"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}
