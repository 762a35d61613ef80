package sim

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
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
		if err := plotScenario(dir, records); err != nil {
			return err
		}
	}
	return nil
}

// WriteSummary writes the tables in Markdown.
func (r *Results) WriteSummary(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# Control laws side by side\n\nMedian of %d seeds. Violations are of all probe packets after onset, lost ones included; those of queues would not have been without any.\n", len(r.Suite.Seeds))
	rows := r.Table()
	for _, scenario := range r.Suite.Scenarios {
		fmt.Fprintf(b, "\n## World: %s\n\n%s.\n\n", scenario.Name, capital(scenario.About))
		fmt.Fprint(b, "| law | violations | of queues | after 2 s | best effort | of oracle | first cut, s | clean, s | recovered, s | Jain | patches/pod/5 s | calm patches |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		for _, row := range rows {
			if row.Scenario != scenario.Name {
				continue
			}
			fmt.Fprintf(b, "| %s | %.2f %% | %.2f %% | %.2f %% | %.0fM | %s | %s | %s | %s | %.3f | %.2f | %d |\n",
				row.Law, 100*row.Violation, 100*row.Queued, 100*row.Settled, row.Goodput.Mbit(), percent(row.OfOracle),
				seconds(row.FirstCut), seconds(row.Clean), seconds(row.Recovery), row.Jain, row.PatchRate, row.CalmWrites)
		}
	}
	for _, trace := range r.Suite.Traces {
		fmt.Fprintf(b, "\n## Trace: %s\n\n%s.\n\n| law | lowest jitter, ms | highest | mean | lowest limit | highest | last | cuts | raises |\n|---|---|---|---|---|---|---|---|---|\n", trace.Name, capital(trace.About))
		for _, run := range r.Traces[trace.Name] {
			summariseTrace(b, run)
		}
	}
	return b.Flush()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func percent(v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

func summariseTrace(w io.Writer, run TraceRun) {
	first := run.Points[0]
	low, high, least, most := first.Jitter, first.Jitter, first.Limit, first.Limit
	var sum time.Duration
	cuts, raises := 0, 0
	before := 100 * bitrate.Mbit
	for _, p := range run.Points {
		low, high, sum = min(low, p.Jitter), max(high, p.Jitter), sum+p.Jitter
		least, most = min(least, p.Limit), max(most, p.Limit)
		switch {
		case p.Limit < before:
			cuts++
		case p.Limit > before:
			raises++
		}
		before = p.Limit
	}
	mean := sum / time.Duration(len(run.Points))
	fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f | %v | %v | %v | %d | %d |\n", run.Law,
		milliseconds(low), milliseconds(high), milliseconds(mean), least, most, before, cuts, raises)
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
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Seeds  []uint64 `json:"seeds"`
		Median []Row    `json:"median"`
		Runs   []Score  `json:"runs"`
	}{r.Suite.Seeds, rows, r.Scores})
}

func (r *Results) writeScores(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"scenario", "law", "seed", "violation_ratio", "violation_ratio_queued", "violation_ratio_settled", "goodput_bps", "first_cut_s", "clean_s", "recovery_s", "jain", "patches_per_pod_5s", "calm_patches", "patches"}}
	for _, s := range r.Scores {
		rows = append(rows, []string{
			s.Scenario, s.Law, strconv.FormatUint(s.Seed, 10), number(s.Violation), number(s.Queued), number(s.Settled),
			strconv.FormatInt(int64(s.Goodput), 10), number(s.FirstCut.Seconds()), number(s.Clean.Seconds()), number(s.Recovery.Seconds()),
			number(s.Jain), number(s.PatchRate), strconv.Itoa(s.CalmWrites), strconv.Itoa(s.Patches),
		})
	}
	return c.WriteAll(rows)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func writeTrace(w io.Writer, runs []TraceRun) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"law", "seconds", "jitter_ms", "limit_bps", "action", "cause"}}
	for _, run := range runs {
		for _, p := range run.Points {
			rows = append(rows, []string{run.Law, number(p.At.Seconds()), number(milliseconds(p.Jitter)), strconv.FormatInt(int64(p.Limit), 10), string(p.Action), string(p.Cause)})
		}
	}
	return c.WriteAll(rows)
}

// writeSeries writes the sub-windows: limits and usage of every sender, and
// the decision made last.
func writeSeries(w io.Writer, records []*Record) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"law", "seconds", "sender", "limit_bps", "sent_bps", "delivered_bps", "capacity_bps", "action", "cause"}}
	for _, r := range records {
		decision := 0
		var last plan.Reason
		for _, p := range r.Points {
			for decision < len(r.Decisions) && r.Decisions[decision].At <= p.At {
				if reasons := r.Decisions[decision].Plan.Reasons; len(reasons) > 0 {
					last = reasons[0]
				}
				decision++
			}
			for i, name := range r.Senders {
				rows = append(rows, []string{
					r.Law, number(p.At.Seconds()), name, strconv.FormatInt(int64(p.Limits[i]), 10), strconv.FormatInt(int64(p.Usage[i]), 10),
					strconv.FormatInt(int64(p.Goodput[i]), 10), strconv.FormatInt(int64(p.Room), 10), string(last.Action), string(last.Cause),
				})
			}
		}
	}
	return c.WriteAll(rows)
}

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
