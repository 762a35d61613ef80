// Package report plays scenarios under laws, with several seeds, and writes what
// came out as tables, series and pictures.
package report

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/contender"
)

// Suite is a set of runs to make: every scenario and trace under every law,
// scenarios with every seed.
type Suite struct {
	Scenarios []sim.Scenario
	Traces    []sim.Trace
	Laws      []string // of law.Names, and "oracle", "bound" and "nothing"
	Seeds     []uint64
	Config    law.Config
}

// Names of what is not a law but compared with them.
const (
	OracleName  = "oracle"
	BoundName   = "bound"
	NothingName = "nothing"
)

// Names lists all that can be compared: the product's laws first.
func Names() []string {
	return append(append(law.Names(), contender.Names()...), NothingName, OracleName)
}

// decides reports whether a name is a law of the product: only these are shown traces.
func decides(name string) bool { return slices.Contains(law.Names(), name) }

// Results is what a suite gave.
type Results struct {
	Scores []sim.Score              // one a run
	Shown  map[string][]*sim.Record // by scenario: the first seed's record under each law
	Traces map[string][]TraceRun    // by trace
	Suite  Suite
}

// TraceRun is a trace under one law.
type TraceRun struct {
	Law    string
	Points []sim.TracePoint
}

// Run plays the suite. Progress is called before every run with the number of
// those done and of all.
func (s Suite) Run(ctx context.Context, progress func(done, all int, what string)) (*Results, error) {
	r := &Results{Shown: map[string][]*sim.Record{}, Traces: map[string][]TraceRun{}, Suite: s}
	done, all := 0, len(s.Laws)*(len(s.Scenarios)*len(s.Seeds)+len(s.Traces))
	next := func(what, by string) error {
		progress(done, all, what+" under "+by)
		done++
		return ctx.Err()
	}
	if err := s.showAll(ctx, r, next); err != nil {
		return nil, err
	}
	if err := s.playAll(ctx, r, next); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	progress(all, all, "done")
	return r, nil
}

// showAll shows the traces to the laws, as many at once as there are processors.
func (s Suite) showAll(ctx context.Context, r *Results, next func(what, by string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var runs []*TraceRun
	var names []string
	for _, trace := range s.Traces {
		for _, name := range s.Laws {
			if err := next(trace.Name, name); err != nil {
				return errors.Join(err, g.Wait())
			}
			if !decides(name) { // the others have to know a world, or do not look
				continue
			}
			l, err := law.New(name, s.Config)
			if err != nil {
				return errors.Join(err, g.Wait())
			}
			run := &TraceRun{Law: name}
			runs, names = append(runs, run), append(names, trace.Name)
			g.Go(func() error {
				run.Points = sim.RunTrace(ctx, trace, l)
				return ctx.Err()
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, run := range runs {
		r.Traces[names[i]] = append(r.Traces[names[i]], *run)
	}
	return nil
}

// playAll plays the scenarios, as many at once as there are processors: runs know
// nothing of each other.
func (s Suite) playAll(ctx context.Context, r *Results, next func(what, by string) error) error {
	type run struct {
		scenario sim.Scenario
		scores   []sim.Score
		shown    *sim.Record // of the first seed only: records are large
	}
	var runs []*run
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, scenario := range s.Scenarios {
		for _, seed := range s.Seeds {
			for _, name := range s.Laws {
				x := &run{scenario: scenario}
				runs = append(runs, x)
				if err := next(scenario.Name, name); err != nil {
					return errors.Join(err, g.Wait())
				}
				g.Go(func() error {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					records, err := s.records(ctx, scenario, name, seed)
					for _, r := range records {
						x.scores = append(x.scores, r.Score())
						if r.Seed == s.Seeds[0] {
							x.shown = r
						}
					}
					return err
				})
			}
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, x := range runs {
		r.Scores = append(r.Scores, x.scores...)
		if x.shown != nil {
			r.Shown[x.scenario.Name] = append(r.Shown[x.scenario.Name], x.shown)
		}
	}
	return nil
}

// records are those of a law and a seed. The bound is one for all seeds, so that it has all of them with the first.
func (s Suite) records(ctx context.Context, scenario sim.Scenario, name string, seed uint64) ([]*sim.Record, error) {
	if name == BoundName {
		if seed != s.Seeds[0] {
			return nil, nil
		}
		return sim.Bound(ctx, scenario, s.Seeds)
	}
	r, err := s.play(scenario, name, seed)
	if err != nil || r == nil {
		return nil, err
	}
	return []*sim.Record{r}, nil
}

// play returns nil where there is no oracle.
func (s Suite) play(scenario sim.Scenario, name string, seed uint64) (*sim.Record, error) {
	switch name {
	case OracleName:
		return sim.Oracle(scenario, seed), nil
	case NothingName:
		return sim.Run(scenario, sim.Nothing(), seed), nil
	}
	if slices.Contains(contender.Names(), name) {
		l, err := contender.New(name, scenario, sim.Epoch)
		if err != nil {
			return nil, err
		}
		return sim.Run(scenario, l, seed), nil
	}
	l, err := law.New(name, s.Config)
	if err != nil {
		return nil, err
	}
	if name == law.AIMD || name == law.Stepwise {
		scenario = startingAt(scenario, originalStart)
	}
	return sim.Run(scenario, l, seed), nil
}

// originalStart is where the limits of the original's laws began (its wiki).
// From 1G they need minutes to come down to an uplink of 200M, and a run would
// show little else of them.
const originalStart = 100 * bitrate.Mbit

// startingAt has no sender begin with more than a limit.
func startingAt(s sim.Scenario, most bitrate.Rate) sim.Scenario {
	s.Senders = slices.Clone(s.Senders)
	for i := range s.Senders {
		s.Senders[i].Initial = min(s.Senders[i].Initial, most)
	}
	return s
}
