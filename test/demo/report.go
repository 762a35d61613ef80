package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/kernel"
	"github.com/detnet/detnet/test/scene/picture"
	"github.com/detnet/detnet/test/scene/record"
)

// grace is how long after the onset of the load violations do not count in the
// controlled phase: the time given to the loop to act.
const grace = 2 * time.Second

// run is all that was seen of a demo.
type run struct {
	options options
	phases  []scene.Phase
	apps    []record.App
	limits  []kernel.Limited // while detnet was there
	kept    string           // kubeconfig of the cluster, where it was left up
}

// picture is the run with the phases' names spelt out.
func (r run) picture() picture.Run {
	captions := map[string]string{idle: "idle", uncontrolled: "load, without detnet", controlled: "load, with detnet"}
	drawn := picture.Run{Capacity: r.options.capacity, Apps: r.apps}
	for _, p := range r.phases {
		p.Name = captions[p.Name]
		drawn.Phases = append(drawn.Phases, p)
	}
	return drawn
}

// Report is out/demo.json. Durations are milliseconds; of a phase's round trips
// the delay variation above the smallest one is given (PDV, RFC 5481).
type Report struct {
	CapacityBPS     bitrate.Rate  `json:"capacity_bps"`
	Load            string        `json:"load"`
	Law             string        `json:"law"`
	Phases          []PhaseReport `json:"phases"`
	OnsetToFirstCut *int64        `json:"onset_to_first_cut_ms"` // null: never
	OnsetToClean    *int64        `json:"onset_to_clean_ms"`     // null: never
	PodRestarts     int           `json:"pod_restarts"`
	Patches         int           `json:"patches"`
	// Verdict is the run in one sentence, and Outcome the same for scripts: works,
	// fails, or void where the machine itself was late and no figure says anything.
	Outcome string `json:"outcome"`
	Verdict string `json:"verdict"`
}

// Outcomes of a run.
const (
	works = "works"
	fails = "fails"
	void  = "void"
)

// PhaseReport is one phase's figures.
type PhaseReport struct {
	Name       string            `json:"name"`
	Critical   []record.Critical `json:"critical"`
	BestEffort []BestEffort      `json:"best_effort"`
}

// BestEffort is what one sender got through.
type BestEffort struct {
	Name    string       `json:"name"`
	Goodput bitrate.Rate `json:"goodput_bps"`
}

// newReport computes the figures of a run. The last phase is the controlled one.
func newReport(run run) Report {
	phases, apps := run.phases, run.apps
	r := Report{CapacityBPS: run.options.capacity, Load: run.options.load, Law: run.options.law}
	for _, p := range phases {
		from := p.Start
		if p.Name == controlled {
			from = from.Add(grace)
		}
		pr := PhaseReport{Name: p.Name}
		for _, app := range apps {
			pr.Critical = append(pr.Critical, record.Summarise(app, from, p.End))
		}
		for _, name := range scene.Senders {
			pr.BestEffort = append(pr.BestEffort, BestEffort{name, scene.Goodput(p.Received[name], p.End.Sub(p.Start))})
		}
		r.Phases = append(r.Phases, pr)
	}
	r.Outcome, r.Verdict = void, lateWithoutLoad(r.Phases)
	last := phases[len(phases)-1]
	if r.Verdict != "" || last.Name != controlled {
		return r
	}
	r.OnsetToFirstCut = milliseconds(kernel.FirstBelow(run.limits, last.Start, r.CapacityBPS/2))
	r.OnsetToClean = milliseconds(record.CleanAfter(apps, last.Start, last.End))
	r.PodRestarts, r.Patches = last.Restarts, len(last.Changes)
	r.Outcome, r.Verdict = r.judge()
	return r
}

// lateWithoutLoad says what of the idle phase makes the run void: it is the control
// group, in which only the machine can be the cause of lateness. Empty: nothing.
func lateWithoutLoad(phases []PhaseReport) string {
	for _, c := range phases[0].Critical {
		switch {
		case c.Samples == 0:
			return fmt.Sprintf("VOID: nothing was measured of %s before there was any load.", c.Name)
		case c.ViolationRatio >= lateShare:
			return fmt.Sprintf("VOID: %.0f %% of %s's packets were late before there was any load, so this machine is too busy to show anything; let it do nothing else.",
				100*c.ViolationRatio, c.Name)
		}
	}
	return ""
}

// judge is the outcome of a whole run. A load that made nobody late shows nothing,
// and neither does a machine that is late by itself.
func (r Report) judge() (outcome, sentence string) {
	before, after := r.worst(uncontrolled), r.worst(controlled)
	figures := fmt.Sprintf("the load made %.1f %% of the packets of the worst workload late without detnet and %.1f %% with it (%.1f %% of those that crossed no network)",
		100*before.ViolationRatio, 100*after.ViolationRatio, 100*after.BesideRatio)
	switch {
	case before.ViolationRatio < lateShare:
		return void, fmt.Sprintf("VOID: the load made only %.1f %% of the packets late, so there was nothing to protect from.", 100*before.ViolationRatio)
	case after.BesideRatio >= lateShare:
		return void, "VOID: " + figures + ", so this machine is too busy to show anything; let it do nothing else."
	case r.OnsetToClean == nil:
		return fails, "FAILS: " + figures + ", and it never became clean."
	}
	return works, fmt.Sprintf("WORKS: %s, %d ms after its onset all was clean.", figures, *r.OnsetToClean)
}

// worst is the workload that had the largest share of late packets in a phase.
func (r Report) worst(phase string) (worst record.Critical) {
	for _, p := range r.Phases {
		for _, c := range p.Critical {
			if p.Name == phase && c.ViolationRatio >= worst.ViolationRatio {
				worst = c
			}
		}
	}
	return worst
}

func milliseconds(d time.Duration, ok bool) *int64 {
	if !ok {
		return nil
	}
	v := d.Milliseconds()
	return &v
}

func (r Report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// print writes the table that ends the demo.
func (r Report) print(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "\nphase\tworkload\tdelay variation p50\tp99\tworst\ttarget\tin violation\tbeside it\n")
	for _, p := range r.Phases {
		for _, c := range p.Critical {
			fmt.Fprintf(tab, "%s\t%s\t%.2f ms\t%.2f ms\t%.2f ms\t%.0f ms\t%.1f %% of %d\t%.1f %%\n",
				p.Name, c.Name, c.P50, c.P99, c.Worst, c.MaxJitter, 100*c.ViolationRatio, c.Samples, 100*c.BesideRatio)
		}
	}
	fmt.Fprintf(tab, "\nphase\tbest effort\tgoodput\tof %v\t\t\t\t\n", r.CapacityBPS)
	for _, p := range r.Phases {
		var sum bitrate.Rate
		var parts []string
		for _, b := range p.BestEffort {
			sum += b.Goodput
			parts = append(parts, fmt.Sprintf("%s %.1f", b.Name, b.Goodput.Mbit()))
		}
		fmt.Fprintf(tab, "%s\t%s\t%.1f Mbit/s\t%.0f %%\t\t\t\t\n", p.Name, strings.Join(parts, ", "), sum.Mbit(), 100*float64(sum)/math.Max(1, float64(r.CapacityBPS)))
	}
	_ = tab.Flush()
	if r.Outcome == void {
		return
	}
	fmt.Fprintf(w, "\nfirst effective cut %s after the load began, clean %s after it; %d limit changes, %d restarts\n",
		orNever(r.OnsetToFirstCut), orNever(r.OnsetToClean), r.Patches, r.PodRestarts)
}

// printVerdict ends what the demo prints.
func (r Report) printVerdict(w io.Writer) { fmt.Fprintf(w, "\n%s\n", r.Verdict) }

func orNever(ms *int64) string {
	if ms == nil {
		return "never"
	}
	return fmt.Sprintf("%d ms", *ms)
}
