package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim/score"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/record"
)

// Score is what one contender made of one world. Its figures are those of the
// simulator. Ratios are 0…1; a time of -1 means never.
type Score struct {
	World     string  `json:"world"`
	Contender string  `json:"contender"`
	Seconds   float64 `json:"seconds"`
	score.Figures
	Beside    float64                 `json:"beside_violation_ratio"` // of the probes that crossed no network: the machine's part
	Elsewhere bool                    `json:"elsewhere,omitempty"`    // the world's delay is not of the senders' making
	Frees     bool                    `json:"frees,omitempty"`        // capacity came back in it: Recovery means something
	FirstCut  time.Duration           `json:"first_cut_ns"`
	OfOracle  float64                 `json:"goodput_of_oracle"` // where no limit helps, no limit is the oracle; 0 where it did not run
	Taken     float64                 `json:"taken"`             // goodput lost against nothing; 0 where it did not run
	CalmRate  float64                 `json:"patches_per_pod_10min"`
	Versus    map[string]score.Versus `json:"versus,omitempty"` // the laws that detnet grew from
	Patches   int                     `json:"patches"`
	Restarts  int                     `json:"restarts"`
	Limits    []bitrate.Rate          `json:"static_limits_bps,omitempty"` // the oracle's, of each pod
}

func newScore(c contender, w world, p play) Score {
	r := p.run()
	s := Score{
		World: w.name, Contender: c.name, Seconds: r.End.Seconds(), Elsewhere: w.elsewhere, Frees: len(r.Freed) > 0,
		Figures: score.Of(r), Beside: record.BesideShare(p.apps, p.phase.Start, p.phase.End), FirstCut: -1, CalmRate: r.WriteRate(0, r.End, 10*time.Minute),
		Patches: len(p.phase.Changes), Restarts: p.phase.Restarts,
	}
	// By the counters' last reading: the sum of the samples has their times' errors.
	s.Goodput = 0
	for _, name := range scene.Senders {
		s.Goodput += scene.Goodput(p.phase.Received[name], r.End)
	}
	usage := func(string) bitrate.Rate { return s.Goodput } // any real cut is below what both get together
	if d, ok := record.FirstEffectiveCut(p.phase.Changes, p.phase.Start, usage); ok {
		s.FirstCut = d
	}
	return s
}

// relate fills in how each score compares with others of its world.
func relate(scores []Score) {
	find := func(world, contender string) (Score, bool) {
		i := slices.IndexFunc(scores, func(s Score) bool { return s.World == world && s.Contender == contender })
		if i < 0 {
			return Score{}, false
		}
		return scores[i], true
	}
	for i := range scores {
		s := &scores[i]
		best := oracle
		if s.Elsewhere {
			best = nothing
		}
		if o, ok := find(s.World, best); ok {
			s.OfOracle = s.Figures.Versus(o.Figures).Goodput
		}
		if n, ok := find(s.World, nothing); ok {
			s.Taken = max(0, 1-s.Figures.Versus(n.Figures).Goodput)
		}
		if s.Contender != adaptive {
			continue
		}
		s.Versus = map[string]score.Versus{}
		for _, name := range grewFrom {
			if o, ok := find(s.World, name); ok {
				s.Versus[name] = s.Figures.Versus(o.Figures)
			}
		}
	}
}

func write(path string, scores []Score, verdicts []Verdict) error {
	data, err := json.MarshalIndent(map[string]any{"capacity_bps": capacity, "scores": scores, "bars": verdicts}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
