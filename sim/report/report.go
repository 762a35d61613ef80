package report

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
)

// Write puts the report into a folder: SUMMARY.md, scores.csv, results.json, and
// for every scenario and trace its series as CSV and its picture as SVG and PNG.
func (r *Results) Write(dir string) error {
	writers := []struct {
		name string
		to   func(io.Writer) error
	}{
		{"SUMMARY.md", r.WriteSummary},
		{"results.json", r.writeJSON},
		{"scores.csv", r.writeScores},
	}
	for _, w := range writers {
		if err := writeFile(filepath.Join(dir, w.name), w.to); err != nil {
			return err
		}
	}
	for _, trace := range r.Suite.Traces {
		runs := r.Traces[trace.Name]
		if len(runs) == 0 {
			continue
		}
		if err := writeFile(filepath.Join(dir, "trace-"+trace.Name+".csv"), func(w io.Writer) error { return writeTrace(w, runs) }); err != nil {
			return err
		}
		if err := plotTrace(dir, trace, runs); err != nil {
			return err
		}
	}
	for _, scenario := range r.Suite.Scenarios {
		records := r.Shown[scenario.Name]
		if len(records) == 0 {
			continue
		}
		if err := writeFile(filepath.Join(dir, "world-"+scenario.Name+".csv"), func(w io.Writer) error { return writeSeries(w, records) }); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, "world-"+scenario.Name+"-delay.csv"), func(w io.Writer) error { return writeDelays(w, records) }); err != nil {
			return err
		}
		if err := plotScenario(dir, records); err != nil {
			return err
		}
	}
	return nil
}

// WriteSummary writes the tables in Markdown.
func (r *Results) WriteSummary(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Control laws side by side\n\n%s.\n", seeds(r.Suite.Seeds))
	rows := r.Table()
	if len(rows) > 0 {
		fmt.Fprint(b, columns)
	}
	r.writeRanking(b, rows)
	for _, scenario := range r.Suite.Scenarios {
		fmt.Fprintf(b, "\n## World: %s\n\n%s.\n\n", scenario.Name, capital(scenario.About))
		fmt.Fprint(b, "| law | violations | of queues | after 2 s | best effort | of oracle | taken | first cut, s | clean, s | recovered, s | filled | Jain | patches/pod/5 s | calm patches |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		for _, row := range rows {
			if row.Scenario != scenario.Name {
				continue
			}
			fmt.Fprintf(b, "| %s | %.2f %% | %.2f %% | %.2f %% | %.0fM | %s | %s | %s | %s | %s | %s | %.3f | %.2f | %d |\n",
				row.Law, 100*row.Violation, 100*row.Queued, 100*row.Settled, row.Goodput.Mbit(), percent(row.OfOracle), r.taken(row),
				seconds(row.FirstCut), seconds(row.Clean), recovered(scenario, row), percent(max(row.Filled, 0)), row.Jain, row.PatchRate, row.CalmWrites)
		}
		r.writeTold(b, scenario.Name)
		r.writeBar(b, scenario, rows)
	}
	r.writeVersus(b, rows)
	for _, trace := range r.Suite.Traces {
		fmt.Fprintf(b, "\n## Trace: %s\n\n%s.\n\n| law | lowest jitter, ms | highest | mean | lowest limit | highest | last | cuts | raises |\n|---|---|---|---|---|---|---|---|---|\n", trace.Name, capital(trace.About))
		for _, run := range r.Traces[trace.Name] {
			x := summarise(trace, run)
			fmt.Fprintf(b, "| %s | %s | %s | %s | %v | %v | %v | %d | %d |\n", x.Law,
				known(x.Lowest), known(x.Highest), known(x.Mean), x.Least, x.Most, x.Last, x.Cuts, x.Raises)
		}
		for _, run := range r.Traces[trace.Name] {
			fmt.Fprintf(b, "\n- %s %s", run.Law, toldOfTrace(trace, summarise(trace, run)))
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

// writeVersus tells how much less time adaptive lets apps be late than the laws
// of the original, and at how much of their goodput.
func (r *Results) writeVersus(w io.Writer, rows []Row) {
	originals := []string{law.AIMD, law.Stepwise}
	if !slices.ContainsFunc(rows, func(row Row) bool { return len(row.Versus) == len(originals) }) {
		return
	}
	fmt.Fprint(w, "\n## adaptive against the laws of the original\n\nHow many times less is late, and at how much of their best effort.\n\n| world | than aimd | at | than step | at |\n|---|---|---|---|---|\n")
	for _, row := range rows {
		if len(row.Versus) < len(originals) {
			continue
		}
		fmt.Fprintf(w, "| %s |", row.Scenario)
		for _, name := range originals {
			fmt.Fprintf(w, " %.1f | %s |", row.Versus[name].TimesLess, percent(row.Versus[name].Goodput))
		}
		fmt.Fprintln(w)
	}
}

func (r *Results) taken(row Row) string {
	if !slices.Contains(r.Suite.Laws, NothingName) {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*row.Taken)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func seeds(all []uint64) string {
	if len(all) == 1 {
		return fmt.Sprintf("Figures of seed %d", all[0])
	}
	return fmt.Sprintf("Medians of the %d seeds from %d on", len(all), all[0])
}

func percent(v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

// recovered says nothing of a world in which no capacity comes back.
func recovered(s sim.Scenario, row Row) string {
	for _, e := range s.Events {
		if e.Frees {
			return seconds(row.Recovery)
		}
	}
	return "–"
}

func known(ms *float64) string {
	if ms == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", *ms)
}

// traceSummary is one law's part of a trace's table. Jitter is that of the
// values that were measured, nil if none was.
type traceSummary struct {
	Trace   string       `json:"trace"`
	Law     string       `json:"law"`
	Lowest  *float64     `json:"lowest_jitter_ms"`
	Highest *float64     `json:"highest_jitter_ms"`
	Mean    *float64     `json:"mean_jitter_ms"`
	Least   bitrate.Rate `json:"lowest_limit_bps"`
	Most    bitrate.Rate `json:"highest_limit_bps"`
	Last    bitrate.Rate `json:"last_limit_bps"`
	Cuts    int          `json:"cuts"`
	Raises  int          `json:"raises"`
}

func summarise(t sim.Trace, run TraceRun) traceSummary {
	start := t.Defaults().Start
	s := traceSummary{Trace: t.Name, Law: run.Law, Least: start, Most: start, Last: start}
	var low, high, sum float64
	n := 0
	for _, value := range t.Value {
		if v := milliseconds(value); v >= 0 {
			if n == 0 {
				low = v
			}
			low, high, sum, n = min(low, v), max(high, v), sum+v, n+1
		}
	}
	if n > 0 {
		mean := sum / float64(n)
		s.Lowest, s.Highest, s.Mean = &low, &high, &mean
	}
	for _, p := range run.Points {
		s.Least, s.Most = min(s.Least, p.Limit), max(s.Most, p.Limit)
		switch {
		case p.Limit < s.Last:
			s.Cuts++
		case p.Limit > s.Last:
			s.Raises++
		}
		s.Last = p.Limit
	}
	return s
}

func (r *Results) writeJSON(w io.Writer) error {
	rows := r.Table()
	for i := range rows {
		rows[i].Jain, rows[i].OfOracle = finite(rows[i].Jain), finite(rows[i].OfOracle)
		for _, d := range []*time.Duration{&rows[i].FirstCut, &rows[i].Clean, &rows[i].Recovery} {
			if *d >= never {
				*d = -1
			}
		}
	}
	var traces []traceSummary
	for _, trace := range r.Suite.Traces {
		for _, run := range r.Traces[trace.Name] {
			traces = append(traces, summarise(trace, run))
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Seeds   []uint64       `json:"seeds"`
		Ranking []Rank         `json:"ranking"`
		Median  []Row          `json:"median"`
		Runs    []sim.Score    `json:"runs"`
		Traces  []traceSummary `json:"traces"`
	}{r.Suite.Seeds, r.Ranking(), rows, r.Scores, traces})
}

func (r *Results) writeScores(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"scenario", "law", "seed", "violation_ratio", "violation_ratio_queued", "violation_ratio_settled", "goodput_bps", "first_cut_s", "clean_s", "recovery_s", "filled_ratio", "jain", "patches_per_pod_5s", "calm_patches", "patches"}}
	for _, s := range r.Scores {
		rows = append(rows, []string{
			s.Scenario, s.Law, strconv.FormatUint(s.Seed, 10), number(s.Violation), number(s.Queued), number(s.Settled),
			strconv.FormatInt(int64(s.Goodput), 10), took(s.FirstCut), took(s.Clean), took(s.Recovery),
			share(s.Filled), number(s.Jain), number(s.PatchRate), strconv.Itoa(s.CalmWrites), strconv.Itoa(s.Patches),
		})
	}
	return c.WriteAll(rows)
}

// took is empty for what did not happen.
func took(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return number(d.Seconds())
}

// share is empty for what there was no occasion for.
func share(v float64) string {
	if v < 0 {
		return ""
	}
	return number(v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// writeFile writes one file of the report.
func writeFile(path string, to func(io.Writer) error) error {
	return write(path, func(w io.Writer) (int64, error) { return 0, to(w) })
}

func write(path string, to func(io.Writer) (int64, error)) error {
	f, err := create(path)
	if err != nil {
		return err
	}
	_, err = to(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
