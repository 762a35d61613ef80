package sim

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/sim/score"
)

// Score is what a run was worth.
type Score struct {
	Scenario string `json:"scenario"`
	Law      string `json:"law"`
	Seed     uint64 `json:"seed"`
	score.Figures
	Queued     float64       `json:"violation_ratio_queued"` // without those whose host alone made them late
	FirstCut   time.Duration `json:"first_cut_ns"`           // after onset; -1: never
	CalmWrites int           `json:"calm_patches"`           // before onset
	Patches    int           `json:"patches"`
}

// Score measures a run.
func (r *Record) Score() Score {
	s := r.Scenario
	result := Score{Scenario: s.Name, Law: r.Law, Seed: r.Seed, Patches: r.Patches, FirstCut: -1}
	run := r.run()
	result.Figures = score.Of(run)
	for i, p := range r.Probes {
		run.Probes[i].Late = p.Queued
	}
	result.Queued = score.Of(run).Violation
	for _, d := range r.Decisions {
		if d.At < s.Onset {
			result.CalmWrites += d.Writes
		}
		if result.FirstCut < 0 && d.At >= s.Onset && d.Writes > 0 && d.Plan.Limits[0].Urgent() {
			result.FirstCut = d.At - s.Onset
		}
	}
	return result
}

// run is the record as figures are computed of it.
func (r *Record) run() score.Run {
	s := r.Scenario
	run := score.Run{Onset: s.Onset, End: s.End, Until: s.Length, Freed: s.freed()}
	for _, spec := range s.Senders {
		run.Senders = append(run.Senders, score.Sender{
			Group: fmt.Sprintf("%s, rank %d", spec.Node, spec.Rank), Weight: spec.Weight,
			Greedy: spec.Kind == TCP, Uncontrolled: spec.Uncontrolled, Aside: spec.Node != s.Nodes[0].Name,
		})
	}
	for _, p := range r.Probes {
		run.Probes = append(run.Probes, score.Probe{App: p.App, At: p.At, Late: p.Late})
	}
	for _, p := range r.Points {
		run.Points = append(run.Points, p.Point)
	}
	for _, d := range r.Decisions {
		for range d.Writes {
			run.Writes = append(run.Writes, d.At)
		}
	}
	return run
}

// freed is the time from each event that frees capacity to the next event.
func (s Scenario) freed() []score.Span {
	var spans []score.Span
	for k, e := range s.Events {
		if !e.Frees {
			continue
		}
		until := s.Length
		for _, later := range s.Events[k+1:] {
			if later.At > e.At && !later.Restart {
				until = min(until, later.At)
			}
		}
		spans = append(spans, score.Span{From: e.At, To: until})
	}
	return spans
}
