// Command limiters plays every world before each limiter, and writes what comes of it into a
// page of Markdown between two marks: beside a token bucket, and beside one who is told what is
// so at each moment and whose limits take as long to be in force (sim.Bound).
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/report"
	"github.com/detnet/detnet/sim/worlds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "limiters:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	page := flag.String("page", "docs/benchmarks/cilium-worlds.md", "page of Markdown to write the table into")
	seeds := flag.Int("seeds", 3, "how many; the table has medians")
	more := flag.Int("more", 9, "how many seeds of worlds that these leave in doubt")
	flag.Parse()
	text, err := os.ReadFile(*page)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	all := map[plan.Limiter][]report.Row{}
	for _, l := range sim.Limiters() {
		if all[l], err = play(ctx, l, worlds.All(), *seeds); err != nil {
			return err
		}
	}
	again := map[plan.Limiter][]report.Row{}
	for _, l := range sim.Limiters() {
		if *more <= *seeds {
			break // these leave no less in doubt
		}
		if again[l], err = play(ctx, l, doubtful(all), *more); err != nil {
			return err
		}
	}
	if text, err = between(text, table(all, again)); err != nil {
		return fmt.Errorf("write the table into %s: %w", *page, err)
	}
	return os.WriteFile(*page, text, 0o644)
}

// play has the medians of worlds before a limiter.
func play(ctx context.Context, l plan.Limiter, all []sim.Scenario, seeds int) ([]report.Row, error) {
	if len(all) == 0 {
		return nil, nil
	}
	s := report.Suite{Laws: []string{law.Adaptive}, Config: law.DefaultConfig()}
	if l != plan.TokenBucket {
		s.Laws = append(s.Laws, report.BoundName)
	}
	for i := range seeds {
		s.Seeds = append(s.Seeds, uint64(i+1))
	}
	for _, world := range all {
		s.Scenarios = append(s.Scenarios, worlds.Limited(world, l))
	}
	results, err := s.Run(ctx, func(done, all int, what string) { fmt.Fprintf(os.Stderr, "\r%s %d/%d %-60.60s", l, done, all, what) })
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("play worlds before %s: %w", l, err)
	}
	return results.Table(), nil
}

// outcome is what came of a world: the share of violations, and the best effort.
type outcome struct {
	late float64
	sent bitrate.Rate
}

func (o outcome) String() string { return fmt.Sprintf("%.2f %%, %.0fM", 100*o.late, o.sent.Mbit()) }

// What counts as the same: half a per cent of violations, and 3 % of best effort.
const (
	moreLate = 0.005
	lessSent = 0.97
)

// as reports whether o comes up to another outcome.
func (o outcome) as(other outcome) bool {
	return o.late <= other.late+moreLate && float64(o.sent) >= lessSent*float64(other.sent)
}

// verdict is what an outcome is, beside that before a token bucket and the bound. Where the
// limiter forbids more it is enough to come up to the bound.
func verdict(o, bucket, bound outcome) string {
	least := outcome{max(bucket.late, bound.late), min(bucket.sent, bound.sent)}
	switch {
	case o.as(bucket):
		return "as tc"
	case o.as(least):
		return "at the bound"
	}
	var short []string
	if more := o.late - least.late; more > moreLate {
		short = append(short, fmt.Sprintf("%.1f %% later", 100*more))
	}
	if part := float64(o.sent) / float64(least.sent); part < lessSent {
		short = append(short, fmt.Sprintf("%.0f %% of it", 100*part))
	}
	return "**short**: " + strings.Join(short, ", ")
}

// How far off medians of few seeds may be.
const (
	doubtLate = 0.002
	doubtSent = 0.015
)

// doubtful are the worlds of which another verdict is as good, on whichever side of it they are.
func doubtful(all map[plan.Limiter][]report.Row) []sim.Scenario {
	return slices.DeleteFunc(worlds.All(), func(world sim.Scenario) bool {
		bucket := find(all[plan.TokenBucket], world.Name, law.Adaptive)
		kinds := func(l plan.Limiter) (n int) {
			o, bound := find(all[l], world.Name, law.Adaptive), find(all[l], world.Name, report.BoundName)
			kinds := map[string]bool{}
			for _, late := range []float64{-doubtLate, 0, doubtLate} {
				for _, sent := range []float64{-doubtSent, 0, doubtSent} {
					kinds[kind(verdict(outcome{o.late + late, bitrate.Scale(o.sent, 1+sent)}, bucket, bound))] = true
				}
			}
			return len(kinds)
		}
		return kinds(plan.EDT) == 1 && kinds(plan.EDTHostRouting) == 1
	})
}

// kind is what a verdict is without its figures.
func kind(verdict string) string {
	kind, _, _ := strings.Cut(verdict, ":")
	return kind
}

func find(rows []report.Row, world, name string) outcome {
	for _, r := range rows {
		if r.Scenario == world && r.Law == name {
			return outcome{r.Violation, r.Goodput}
		}
	}
	return outcome{}
}

// table is every world before Cilium's limiter, a line each; in italics those that were played again.
func table(all, again map[plan.Limiter][]report.Row) string {
	var b strings.Builder
	count := map[plan.Limiter]map[string]int{plan.EDT: {}, plan.EDTHostRouting: {}}
	fmt.Fprint(&b, "| world | token bucket | legacy host routing | bound | | BPF host routing | bound | |\n|---|---|---|---|---|---|---|---|\n")
	for _, world := range worlds.All() {
		rows, name := all, world.Name
		if find(again[plan.TokenBucket], name, law.Adaptive) != (outcome{}) {
			rows, name = again, "*"+name+"*"
		}
		bucket := find(rows[plan.TokenBucket], world.Name, law.Adaptive)
		fmt.Fprintf(&b, "| %s | %v |", name, bucket)
		for _, l := range []plan.Limiter{plan.EDT, plan.EDTHostRouting} {
			o, bound := find(rows[l], world.Name, law.Adaptive), find(rows[l], world.Name, report.BoundName)
			v := verdict(o, bucket, bound)
			count[l][kind(v)]++
			fmt.Fprintf(&b, " %v | %v | %s |", o, bound, v)
		}
		fmt.Fprintln(&b)
	}
	of := func(l plan.Limiter) string {
		return fmt.Sprintf("%d as tc, %d at the bound, %d short", count[l]["as tc"], count[l]["at the bound"], count[l]["**short**"])
	}
	return fmt.Sprintf("Of %d worlds, under legacy host routing %s; under BPF host routing %s.\n\n%s",
		len(worlds.All()), of(plan.EDT), of(plan.EDTHostRouting), b.String())
}

// The marks between which the table is.
const (
	begin = "<!-- make limiters -->\n"
	end   = "<!-- end -->\n"
)

func between(page []byte, table string) ([]byte, error) {
	head, rest, ok := bytes.Cut(page, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return nil, fmt.Errorf("want a line %q and a later one %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return bytes.Join([][]byte{head, []byte(begin), []byte(table), []byte(end), tail}, nil), nil
}
