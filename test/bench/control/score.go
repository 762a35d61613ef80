package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/record"
)

// settling is how long a contender is given before its steady state counts.
const settling = 10 * time.Second

// Score is what one contender made of one world. Ratios are 0…1; a time of -1
// means never.
type Score struct {
	World     string       `json:"world"`
	Contender string       `json:"contender"`
	Violation float64      `json:"violation_ratio"`         // of both services' probes since the onset
	Settled   float64      `json:"violation_ratio_settled"` // of those since 2 s after it
	Goodput   bitrate.Rate `json:"goodput_bps"`
	OfOracle  float64      `json:"goodput_of_oracle"` // 0 where no oracle ran
	FirstCut  int64        `json:"first_cut_ms"`
	Clean     int64        `json:"clean_ms"`
	Jain      float64      `json:"jain"`
	PatchRate float64      `json:"patches_per_pod_5s"` // from 10 s after the onset on
	Patches   int          `json:"patches"`
	Restarts  int          `json:"restarts"`
	Limit     bitrate.Rate `json:"static_limit_bps,omitempty"` // the oracle's, of each pod
}

func newScore(world, contender string, p scene.Phase, apps []record.App) Score {
	s := Score{World: world, Contender: contender, FirstCut: -1, Clean: -1, Patches: len(p.Changes), Restarts: p.Restarts}
	s.Violation = violation(apps, p.Start, p.End)
	s.Settled = violation(apps, p.Start.Add(2*time.Second), p.End)
	var got []float64
	for _, name := range scene.Senders {
		g := scene.Goodput(p.Received[name], p.End.Sub(p.Start))
		s.Goodput += g
		got = append(got, float64(g))
	}
	s.Jain = record.Jain(got)
	usage := func(string) bitrate.Rate { return s.Goodput } // any real cut is below what both get together
	if d, ok := record.FirstEffectiveCut(p.Changes, p.Start, usage); ok {
		s.FirstCut = d.Milliseconds()
	}
	if d, ok := record.CleanAfter(apps, p.Start, p.End); ok {
		s.Clean = d.Milliseconds()
	}
	steady := 0
	for _, c := range p.Changes {
		if c.At.After(p.Start.Add(settling)) {
			steady++
		}
	}
	if span := p.End.Sub(p.Start) - settling; span > 0 {
		s.PatchRate = float64(steady) / float64(len(scene.Senders)) / (span.Seconds() / 5)
	}
	return s
}

func violation(apps []record.App, from, to time.Time) float64 {
	late, all := 0.0, 0.0
	for _, a := range apps {
		c := record.Summarise(a, from, to)
		late += c.ViolationRatio * float64(c.Samples)
		all += float64(c.Samples)
	}
	if all == 0 {
		return 0
	}
	return late / all
}

// compare fills in each score's share of its world's oracle.
func compare(scores []Score) {
	for i := range scores {
		for _, o := range scores {
			if o.World == scores[i].World && o.Contender == oracle && o.Goodput > 0 {
				scores[i].OfOracle = float64(scores[i].Goodput) / float64(o.Goodput)
			}
		}
	}
}

func write(path string, capacity bitrate.Rate, scores []Score) error {
	data, err := json.MarshalIndent(map[string]any{"capacity_bps": capacity, "scores": scores}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func table(w io.Writer, scores []Score) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "\nworld\tcontender\tin violation\tafter 2 s\tgoodput\tof oracle\tfirst cut\tclean\tJain\tpatches/pod/5 s\t\n")
	last := ""
	for _, s := range scores {
		if s.World != last {
			fmt.Fprint(tab, "\t\t\t\t\t\t\t\t\t\t\n")
			last = s.World
		}
		fmt.Fprintf(tab, "%s\t%s\t%.1f %%\t%.1f %%\t%.1f Mbit/s\t%s\t%s\t%s\t%.3f\t%.2f\t\n", s.World, s.Contender,
			100*s.Violation, 100*s.Settled, s.Goodput.Mbit(), share(s.OfOracle), instant(s.FirstCut), instant(s.Clean), s.Jain, s.PatchRate)
	}
	_ = tab.Flush()
}

func share(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}

func instant(ms int64) string {
	if ms < 0 {
		return "never"
	}
	return fmt.Sprintf("%d ms", ms)
}
