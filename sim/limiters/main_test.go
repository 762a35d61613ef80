package main

import (
	"os"
	"strings"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim/report"
	"github.com/detnet/detnet/sim/worlds"
)

func of(late float64, sent int) outcome {
	return outcome{late / 100, bitrate.Rate(sent) * bitrate.Mbit}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		is, bucket, bound outcome
		want              string
	}{
		{of(0.4, 192), of(0.3, 190), of(0.1, 198), "as tc"},
		{of(0.8, 185), of(0.3, 190), of(0, 198), "as tc"},                               // 0.5 % and 3 %
		{of(0.4, 3), of(0.4, 192), of(0.1, 3), "at the bound"},                          // the limiter lets no more through
		{of(1.5, 150), of(0.4, 150), of(1.2, 150), "at the bound"},                      // nor sooner
		{of(0.4, 3), of(0.4, 192), of(0.1, 100), "**short**: 3 % of it"},                // it does
		{of(4.5, 97), of(1.5, 102), of(0.6, 110), "**short**: 3.0 % later, 95 % of it"}, // of the lesser of both
		{of(4.5, 102), of(1.5, 102), of(2, 110), "**short**: 2.5 % later"},
	} {
		if got := verdict(tt.is, tt.bucket, tt.bound); got != tt.want {
			t.Errorf("%v beside %v and %v: %q, want %q", tt.is, tt.bucket, tt.bound, got, tt.want)
		}
	}
}

// rows are what came of a world before each limiter, by the law and by the bound.
func rows(world string, by, bound [3]outcome) map[plan.Limiter][]report.Row {
	all := map[plan.Limiter][]report.Row{}
	for i, l := range []plan.Limiter{plan.TokenBucket, plan.EDT, plan.EDTHostRouting} {
		for name, o := range map[string]outcome{law.Adaptive: by[i], report.BoundName: bound[i]} {
			row := report.Row{}
			row.Scenario, row.Law, row.Violation, row.Goodput = world, name, o.late, o.sent
			all[l] = append(all[l], row)
		}
	}
	return all
}

// A line for each world, with what came of it before each limiter, and of one that was played again by that.
func TestTable(t *testing.T) {
	none := [3]outcome{}
	all := rows("edge", [3]outcome{of(0.1, 19), of(0.2, 19), of(0.3, 19)}, [3]outcome{of(0, 19), of(0, 19), of(0, 19)})
	for again, want := range map[string]string{
		"stall": "| edge | 0.10 %, 19M | 0.20 %, 19M | 0.00 %, 19M | as tc | 0.30 %, 19M | 0.00 %, 19M | as tc |\n",
		"edge":  "| *edge* | 0.40 %, 18M | 0.50 %, 18M | 0.00 %, 0M | as tc | 1.00 %, 18M | 0.00 %, 0M | **short**: 0.6 % later |\n",
	} {
		got := table(all, rows(again, [3]outcome{of(0.4, 18), of(0.5, 18), of(1, 18)}, none))
		if !strings.Contains(got, want) || strings.Count(got, "\n| ") != len(worlds.All())+1 {
			t.Errorf("with %s played again: want a line %q in\n%s", again, want, got)
		}
	}
}

// A world is in doubt where a little more or less would make it another verdict, be it better or worse.
func TestDoubtful(t *testing.T) {
	clear, bound := of(0.3, 100), [3]outcome{of(0, 100), of(0, 100), of(0, 100)}
	for _, tt := range []struct {
		is   outcome
		want bool
	}{
		{clear, false},
		{of(0.69, 100), true},
		{of(0.89, 100), true},
		{of(1.2, 100), false},
		{of(0.3, 98), true},
		{of(0.3, 96), true},
		{of(0.3, 90), false},
	} {
		for _, is := range [][3]outcome{{clear, tt.is, clear}, {clear, clear, tt.is}} {
			var got bool
			for _, w := range doubtful(rows("edge", is, bound)) {
				got = got || w.Name == "edge"
			}
			if got != tt.want {
				t.Errorf("%v beside %v: in doubt %v, want %v", tt.is, clear, got, tt.want)
			}
		}
	}
}

func TestATableIsPutBetweenItsMarks(t *testing.T) {
	page := "a\n" + begin + "old\n" + end + "b\n"
	if got, err := between([]byte(page), "new\n"); err != nil || string(got) != "a\n"+begin+"new\n"+end+"b\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := between([]byte("a\n"+end+begin), ""); err == nil {
		t.Error("marks in the wrong order are taken")
	}
}

// The page that is in the repository tells of every world there is.
func TestThePageHasEveryWorld(t *testing.T) {
	page, err := os.ReadFile("../../docs/benchmarks/cilium-worlds.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), begin)
	table, _, _ := strings.Cut(rest, end)
	for _, world := range worlds.All() {
		if !strings.Contains(table, "\n| "+world.Name+" |") && !strings.Contains(table, "\n| *"+world.Name+"* |") {
			t.Errorf("no line on %s: make limiters", world.Name)
		}
	}
}
