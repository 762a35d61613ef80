package report

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/worlds"
	"github.com/detnet/detnet/workload"
)

func lawNamed(t *testing.T, name string) law.Law {
	t.Helper()
	l, err := law.New(name, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func worldNamed(t *testing.T, name string) sim.Scenario {
	t.Helper()
	s, err := worlds.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Where no limit keeps to 1 % there is no oracle to be compared with.
func TestNoOracleWhereLimitsDoNotHelp(t *testing.T) {
	world := worldNamed(t, "cpu-noise")
	suite := Suite{Scenarios: []sim.Scenario{world}, Laws: []string{NothingName, OracleName}, Seeds: []uint64{1}, Config: law.DefaultConfig()}
	results, err := suite.Run(t.Context(), func(int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	rows := results.Table()
	if len(rows) != 1 || rows[0].Law != NothingName || rows[0].OfOracle != 0 {
		t.Errorf("rows %+v, want that of nothing alone", rows)
	}
}

// What is undone within a step of the trace is done all the same: a spike that
// no cut helps against costs a few cuts and their return, not nothing.
func TestATraceShowsEveryDecision(t *testing.T) {
	spike := sim.Trace{Name: "spike", Every: 5 * time.Second, Value: []time.Duration{300 * time.Microsecond, 40 * time.Millisecond, -1, 300 * time.Microsecond}}
	s := summarise(spike, TraceRun{law.Adaptive, sim.RunTrace(t.Context(), spike, lawNamed(t, law.Adaptive))})
	if s.Cuts == 0 || s.Raises == 0 || s.Least >= sim.TraceStart {
		t.Errorf("a law that cuts and restores within 5 s: %+v", s)
	}
	if *s.Lowest != 0.3 || *s.Highest != 40 || math.Abs(*s.Mean-40.6/3) > 1e-9 {
		t.Errorf("jitter of what was measured from %v to %v, mean %v", *s.Lowest, *s.Highest, *s.Mean)
	}
	var csv bytes.Buffer
	if err := writeTrace(&csv, []TraceRun{{law.Stepwise, sim.RunTrace(t.Context(), spike, lawNamed(t, law.Stepwise))}}); err != nil {
		t.Fatal(err)
	}
	if want := "step,10.1,,60000000,cut,violation\n"; !strings.Contains(csv.String(), want) {
		t.Errorf("no empty jitter, as in the input, where nothing was measured: want %q in\n%s", want, &csv)
	}
	if n := len(measured(spike)); n != 2 {
		t.Errorf("drawn in %d parts, want two", n)
	}
	blind := sim.Trace{Name: "blind", Every: 5 * time.Second, Value: []time.Duration{-1, -1}}
	if s := summarise(blind, TraceRun{law.Adaptive, sim.RunTrace(t.Context(), blind, lawNamed(t, law.Adaptive))}); s.Lowest != nil || s.Cuts+s.Raises > 0 {
		t.Errorf("nothing measured: %+v", s)
	}
}

func TestTheReportIsReproducible(t *testing.T) {
	world := worldNamed(t, "jitter-spike")
	world.Apps[0].SLO = workload.SLO{Latency: 2 * time.Millisecond}
	suite := Suite{
		Scenarios: []sim.Scenario{world}, Traces: worlds.Traces()[:1],
		Laws: []string{law.Adaptive, NothingName}, Seeds: []uint64{1, 2}, Config: law.DefaultConfig(),
	}
	var summaries [2]bytes.Buffer
	dir := t.TempDir()
	for i := range summaries {
		steps := 0
		results, err := suite.Run(context.Background(), func(done, all int, _ string) { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		if steps != 7 { // two scenarios' seeds and a trace, under two laws, and the end
			t.Errorf("progress was said %d times", steps)
		}
		if err := results.Write(dir); err != nil {
			t.Fatal(err)
		}
		if err := results.WriteSummary(&summaries[i]); err != nil {
			t.Fatal(err)
		}
	}
	if summaries[0].String() != summaries[1].String() {
		t.Error("two runs of one suite differ")
	}
	// Times that never came are empty, not a nanosecond before the start.
	scores, err := os.ReadFile(filepath.Join(dir, "scores.csv"))
	if err != nil || strings.Contains(string(scores), ",-") || !strings.Contains(string(scores), ",,") {
		t.Errorf("%v:\n%s", err, scores)
	}
	if text := summaries[0].String(); !strings.Contains(text, "Medians of the 2 seeds from 1 on") || !strings.Contains(text, " never | never | – |") {
		t.Errorf("no world here has a capacity that comes back: %s", text)
	}
	for _, name := range []string{"SUMMARY.md", "results.json", "scores.csv", "world-jitter-spike.csv", "world-jitter-spike-delay.csv", "world-jitter-spike.svg", "world-jitter-spike.png", "trace-normal-operation.csv", "trace-normal-operation.svg", "trace-normal-operation.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 100 {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := suite.Run(ctx, func(int, int, string) {}); err == nil {
		t.Error("a cancelled suite went on")
	}
}
