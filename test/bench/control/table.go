package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Verdict is one figure of adaptive in one world against the bar that it must
// reach on real queues.
type Verdict struct {
	Figure string  `json:"figure"`
	Bar    string  `json:"bar"`
	World  string  `json:"world"`
	Value  float64 `json:"value"` // a time in seconds; -1: never
	Text   string  `json:"text"`
	Met    bool    `json:"met"`
}

// bar is what a figure must reach, in the worlds in which it says something.
type bar struct {
	figure, bar string
	applies     func(Score) bool
	value       func(Score) float64
	text        func(Score) string
	met         func(Score) bool
}

// noLess is a goodput as high as another's, within what two runs differ by.
const noLess = 0.995

func loaded(s Score) bool    { return !s.Elsewhere }
func elsewhere(s Score) bool { return s.Elsewhere }

func bars() []bar {
	within := func(d, most time.Duration) bool { return d >= 0 && d <= most }
	all := []bar{
		{"probes in violation since the onset", "≤ 2 %", func(Score) bool { return true },
			func(s Score) float64 { return s.Violation }, func(s Score) string { return percent(s.Violation) },
			func(s Score) bool { return s.Violation <= 0.02 }},
		{"best effort of the oracle's", "≥ 95 %", func(s Score) bool { return loaded(s) && s.OfOracle > 0 },
			func(s Score) float64 { return s.OfOracle }, func(s Score) string { return percent(s.OfOracle) },
			func(s Score) bool { return s.OfOracle >= 0.95 }},
		{"onset to clean", "≤ 1.0 s", loaded,
			func(s Score) float64 { return inSeconds(s.Clean) }, func(s Score) string { return span(s.Clean) },
			func(s Score) bool { return within(s.Clean, time.Second) }},
		{"90 % of the capacity usable again", "≤ 5 s", func(s Score) bool { return s.Frees },
			func(s Score) float64 { return inSeconds(s.Recovery) }, func(s Score) string { return span(s.Recovery) },
			func(s Score) bool { return within(s.Recovery, 5*time.Second) }},
		{"Jain index", "≥ 0.98", func(Score) bool { return true },
			func(s Score) float64 { return s.Jain }, func(s Score) string { return fmt.Sprintf("%.3f", s.Jain) },
			func(s Score) bool { return s.Jain >= 0.98 }},
		{"patches per pod and 5 s, steady", "≤ 1", loaded,
			func(s Score) float64 { return s.PatchRate }, func(s Score) string { return fmt.Sprintf("%.2f", s.PatchRate) },
			func(s Score) bool { return s.PatchRate <= 1 }},
		{"patches per pod and 10 min, calm", "≤ 1", func(s Score) bool { return s.World == calmWorld },
			func(s Score) float64 { return s.CalmRate }, func(s Score) string { return fmt.Sprintf("%.1f", s.CalmRate) },
			func(s Score) bool { return s.CalmRate <= 1 }},
		{"best effort lost in vain", "≤ 5 %", elsewhere,
			func(s Score) float64 { return s.Taken }, func(s Score) string { return percent(s.Taken) },
			func(s Score) bool { return s.Taken <= 0.05 }},
	}
	for _, other := range grewFrom {
		all = append(all, bar{"times less in violation than " + other, "≥ 10, no less goodput",
			func(s Score) bool { _, ok := s.Versus[other]; return ok && loaded(s) },
			func(s Score) float64 { return s.Versus[other].TimesLess },
			func(s Score) string {
				return fmt.Sprintf("%.0f at %s", s.Versus[other].TimesLess, percent(s.Versus[other].Goodput))
			},
			func(s Score) bool { return s.Versus[other].TimesLess >= 10 && s.Versus[other].Goodput >= noLess }})
	}
	return all
}

// judge holds adaptive's scores against the bars.
func judge(scores []Score) (verdicts []Verdict) {
	for _, b := range bars() {
		for _, s := range scores {
			if s.Contender == adaptive && b.applies(s) {
				verdicts = append(verdicts, Verdict{b.figure, b.bar, s.World, b.value(s), b.text(s), b.met(s)})
			}
		}
	}
	return verdicts
}

// tableOfBars has a line for each bar and a column for each world.
func tableOfBars(w io.Writer, verdicts []Verdict) {
	var figures, names []string
	cells := map[[2]string]Verdict{}
	for _, v := range verdicts {
		if !slices.Contains(figures, v.Figure) {
			figures = append(figures, v.Figure)
		}
		if !slices.Contains(names, v.World) {
			names = append(names, v.World)
		}
		cells[[2]string{v.Figure, v.World}] = v
	}
	if len(figures) == 0 {
		return
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "\nadaptive\tbar\t")
	for _, name := range names {
		fmt.Fprintf(tab, "%s\t", name)
	}
	fmt.Fprintln(tab)
	for _, f := range figures {
		line, bar := "", ""
		for _, name := range names {
			v, ok := cells[[2]string{f, name}]
			switch {
			case !ok:
				line += "·\t"
			case v.Met:
				line, bar = line+v.Text+"\t", v.Bar
			default:
				line, bar = line+v.Text+" ✗\t", v.Bar
			}
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\n", f, bar, line)
	}
	_ = tab.Flush()
}

// table has a line for each contender in each world.
func table(w io.Writer, scores []Score) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tab, "\nworld\tcontender\tin violation\tbeside\tafter 2 s\tgoodput\tof oracle\ttaken\tfirst cut\tclean\tusable again\tJain\tpatches/pod/5 s\t/10 min\t\n")
	last := ""
	for _, s := range scores {
		if s.World != last {
			fmt.Fprint(tab, "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\n")
			last = s.World
		}
		again := "-"
		if s.Frees {
			again = span(s.Recovery)
		}
		calm := "-"
		if s.World == calmWorld {
			calm = fmt.Sprintf("%.1f", s.CalmRate)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%.1f Mbit/s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%.2f\t%s\t\n", s.World, s.Contender,
			percent(s.Violation), percent(s.Beside), percent(s.Settled), s.Goodput.Mbit(), known(s.OfOracle), percent(s.Taken),
			span(s.FirstCut), span(s.Clean), again, s.Jain, s.PatchRate, calm)
	}
	_ = tab.Flush()
}

func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// known is a ratio that is 0 where there is nothing to compare with.
func known(v float64) string {
	if v == 0 {
		return "-"
	}
	return percent(v)
}

func inSeconds(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return d.Seconds()
}

func span(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
