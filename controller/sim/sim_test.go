package sim

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
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

func worldNamed(t *testing.T, name string) Scenario {
	t.Helper()
	s, err := World(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLinkIsADropTailQueue(t *testing.T) {
	l := link{rate: 8 * bitrate.Mbit, limit: 3000} // 1 byte a µs
	first, ok := l.push(0, 1000)
	if !ok || first != time.Millisecond {
		t.Errorf("first packet leaves at %v, %v", first, ok)
	}
	second, ok := l.push(0, 1000)
	if !ok || second != 2*time.Millisecond {
		t.Errorf("second waits for the first: %v, %v", second, ok)
	}
	if _, ok := l.push(0, 1001); ok {
		t.Error("a packet was queued beyond the limit")
	}
	if _, ok := l.push(0, 100); !ok {
		t.Error("a small packet did not slip into the rest of the queue")
	}
	l.setRate(time.Millisecond, 4*bitrate.Mbit)
	if l.free != time.Millisecond+2200*time.Microsecond {
		t.Errorf("at half the rate the 1,100 bytes left are gone at %v", l.free)
	}
}

func TestShaperHoldsItsRate(t *testing.T) {
	var c clock
	sent := 0
	s := shaper{clock: &c, rate: 24 * bitrate.Mbit, limit: 1 << 20, out: func(time.Duration, time.Duration) { sent++ }}
	for range 200 {
		s.push(0, 0)
	}
	c.run(100 * time.Millisecond) // one segment each ms
	if sent < 100 || sent > 102 {
		t.Errorf("%d segments in 100 ms, want about 100", sent)
	}
	s.setRate(c.now, 240*bitrate.Mbit)
	c.run(105 * time.Millisecond)
	if sent < 145 || sent > 155 {
		t.Errorf("%d segments after 5 ms at ten times the rate, want about 150", sent)
	}
}

// Without detnet the overload is real: the queue is full and the link is used.
func TestOverloadIsReal(t *testing.T) {
	for _, name := range []string{"tcp-overload", "udp-overload"} {
		score := Run(worldNamed(t, name), Nothing(), 1).Score()
		if score.Settled < 0.5 || score.Goodput < 190*bitrate.Mbit {
			t.Errorf("%s: %.0f %% in violation, %v delivered", name, 100*score.Settled, score.Goodput)
		}
	}
}

func TestARunIsDecidedByItsSeed(t *testing.T) {
	s := worldNamed(t, "bursts")
	a, b := Run(s, lawNamed(t, law.Adaptive), 3), Run(s, lawNamed(t, law.Adaptive), 3)
	if !reflect.DeepEqual(a, b) {
		t.Error("two runs with the same seed differ")
	}
	c := Run(s, lawNamed(t, law.Adaptive), 4)
	if reflect.DeepEqual(a.Probes, c.Probes) {
		t.Error("another seed made no difference")
	}
}

// Where no limit keeps to 1 % there is no oracle to be compared with.
func TestNoOracleWhereLimitsDoNotHelp(t *testing.T) {
	world := worldNamed(t, "cpu-noise")
	suite := Suite{Scenarios: []Scenario{world}, Laws: []string{NothingName, OracleName}, Seeds: []uint64{1}, Config: law.DefaultConfig()}
	results, err := suite.Run(t.Context(), func(int, int, string) {})
	if err != nil {
		t.Fatal(err)
	}
	rows := results.Table()
	if len(rows) != 1 || rows[0].Law != NothingName || rows[0].OfOracle != 0 {
		t.Errorf("rows %+v, want that of nothing alone", rows)
	}
}

// The bars that the adaptive law has to reach in every kind of world; what a
// bar does not apply to is left at its zero value.
func TestAdaptive(t *testing.T) {
	tests := []struct {
		world     string
		violation float64 // of the probes after onset, at most
		goodput   bitrate.Rate
		clean     time.Duration
		recovery  time.Duration
	}{
		{"normal-operation", 0.002, 80 * mbit, time.Second, 0},
		{"jitter-spike", 0.01, 180 * mbit, time.Second, 0},
		{"tcp-overload", 0.01, 190 * mbit, time.Second, 0},
		{"udp-overload", 0.01, 190 * mbit, time.Second, 0},
		{"slow-patches", 0.011, 190 * mbit, 1200 * time.Millisecond, 0},
		{"several-apps", 0.01, 185 * mbit, time.Second, 0},
		{"capacity-drop", 0.01, 150 * mbit, time.Second, 5 * time.Second},
		{"capacity-drop-udp", 0.01, 150 * mbit, time.Second, 5 * time.Second},
		{"one-leaves", 0.01, 185 * mbit, time.Second, 5 * time.Second},
		{"bursts", 0.01, 95 * mbit, time.Second, 0},
		{"incast-echo", 0.01, 190 * mbit, time.Second, 0},
		{"far-uplink-echo", 0.01, 240 * mbit, time.Second, 0},
		{"flapping-probe", 0.01, 190 * mbit, time.Second, 0},
		{"restart", 0.01, 190 * mbit, time.Second, 0},
		{"low-limits", 0.01, 180 * mbit, time.Second, 0},
		{"late-start", 0.01, 190 * mbit, time.Second, 0},
		{"on-off", 0.01, 150 * mbit, time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.world, func(t *testing.T) {
			t.Parallel()
			r := Run(worldNamed(t, tt.world), lawNamed(t, law.Adaptive), 1)
			s := r.Score()
			if s.Violation > tt.violation {
				t.Errorf("%.2f %% in violation", 100*s.Violation)
			}
			if s.Goodput < tt.goodput*99/100 {
				t.Errorf("%v delivered, want %v", s.Goodput, tt.goodput)
			}
			if s.Clean < 0 || s.Clean > tt.clean {
				t.Errorf("clean after %v", s.Clean)
			}
			if tt.recovery > 0 && (s.Recovery < 0 || s.Recovery > tt.recovery) {
				t.Errorf("recovered after %v", s.Recovery)
			}
			if s.Jain < 0.98 {
				t.Errorf("Jain index %.3f", s.Jain)
			}
			if s.CalmWrites > 0 {
				t.Errorf("%d writes before there was anything to do", s.CalmWrites)
			}
		})
	}
}

// Two seconds after the onset the limits are what fits through, however long or
// short the queue was that the senders had built.
func TestTheCapacityIsFoundAtOnce(t *testing.T) {
	for _, name := range []string{"tcp-overload", "udp-overload", "count-before", "on-off", "on-off-witness"} {
		world := worldNamed(t, name)
		for seed := range uint64(3) {
			r := Run(world, lawNamed(t, law.Adaptive), seed+1)
			i := slices.IndexFunc(r.Points, func(p Point) bool { return p.At >= world.Onset+2*time.Second })
			var sum bitrate.Rate
			for _, limit := range r.Points[i].Limits {
				sum += limit
			}
			if sum < 188*mbit || sum > 200*mbit {
				t.Errorf("%s, seed %d: limits of %v together, want 94 to 100 %% of %v", name, seed+1, sum, uplink)
			}
		}
	}
}

// When the delay comes from the app's own CPU the senders get their limits
// back within 3 s, and keep them.
func TestACauseElsewhereDoesNotStarveTheSenders(t *testing.T) {
	for _, name := range []string{"cpu-noise", "cpu-noise-echo"} {
		s := worldNamed(t, name)
		r := Run(s, lawNamed(t, law.Adaptive), 1)
		free := Run(s, Nothing(), 1)
		if lost := 1 - float64(r.Score().Goodput)/float64(free.Score().Goodput); lost > 0.05 {
			t.Errorf("%s: %.1f %% taken in vain", name, 100*lost)
		}
		var cut, restored time.Duration
		for _, d := range r.Decisions {
			for _, reason := range d.Plan.Reasons {
				if reason.Action == plan.Cut && cut == 0 {
					cut = d.At
				}
				if reason.Action == plan.Restore && restored == 0 {
					restored = d.At
				}
			}
		}
		if restored == 0 || restored-cut > 3*time.Second {
			t.Errorf("%s: cut at %v, restored at %v", name, cut, restored)
		}
	}
}

// With an agent beside the app it is seen at once that the network is not to
// blame, and hosts that are late now and then do not count as queues.
func TestWitnessesTellHostsFromQueues(t *testing.T) {
	r := Run(worldNamed(t, "cpu-noise-witness"), lawNamed(t, law.Adaptive), 1)
	said := false
	for _, d := range r.Decisions {
		for _, reason := range d.Plan.Reasons {
			said = said || reason.Cause == plan.NotNetwork
		}
	}
	if !said || r.Patches > 0 {
		t.Errorf("%d patches, cause told: %v", r.Patches, said)
	}
	for _, name := range []string{"busy-hosts-witness", "moody-hosts-witness", "on-off-witness"} {
		s := Run(worldNamed(t, name), lawNamed(t, law.Adaptive), 2).Score()
		if s.Queued > 0.01 || s.Queued >= s.Violation {
			t.Errorf("%s: queues made %.2f %% late of %.2f %%", name, 100*s.Queued, 100*s.Violation)
		}
	}
}

// A signal that lags behind by 75 s is followed slowly: what was done must have
// had the time to show before anything is done again.
func TestASlowSignalIsFollowedSlowly(t *testing.T) {
	world := worldNamed(t, "promql-only")
	r := Run(world, lawNamed(t, law.Adaptive), 1)
	lag := world.Query.Range + world.Query.Scrape
	acted := -lag
	for _, d := range r.Decisions {
		if d.Writes == 0 || d.At < world.Onset || d.At > world.End {
			continue
		}
		cut := d.Plan.Reasons[0].Action == plan.Cut
		if d.At-acted < lag && !cut {
			t.Errorf("acted at %v and %v", acted, d.At)
		}
		if cut && d.Plan.Limits[0].From < bitrate.Gbit && d.At-acted < 10*time.Second {
			t.Errorf("cut at %v, 10 s after %v at most", d.At, acted)
		}
		acted = d.At
		for _, reason := range d.Plan.Reasons {
			if reason.Cause == plan.Unresponsive {
				t.Errorf("at %v the senders were acquitted", d.At)
			}
		}
	}
	s := r.Score()
	if s.Violation > 0.03 || s.Goodput < 42*mbit || s.Clean < 0 || s.Clean > 30*time.Second || s.CalmWrites > 0 {
		t.Errorf("%+v", s)
	}
}

// From 100M with +10M each 5 s the original reached 700M in its 300 s of normal
// operation; its own report says so.
func TestStepReachesTheOriginalsFigure(t *testing.T) {
	points := RunTrace(t.Context(), Traces()[0], lawNamed(t, law.Stepwise))
	i := slices.IndexFunc(points, func(p TracePoint) bool { return p.Limit == 700*bitrate.Mbit })
	// The first step starts the clock.
	if i < 0 || points[i].At < 300*time.Second || points[i].At > 301*time.Second {
		t.Errorf("700M was not reached after 300 s: %+v", points[max(i, 0)])
	}
}

// The original's spike was due at the eightieth sample of a run of sixty.
func TestTracesAreLongEnoughForTheirEvents(t *testing.T) {
	for _, trace := range Traces() {
		points := RunTrace(t.Context(), trace, lawNamed(t, law.Stepwise))
		low, high := points[0].Jitter, points[0].Jitter
		for _, p := range points {
			low, high = min(low, p.Jitter), max(high, p.Jitter)
		}
		if trace.Name != "normal-operation" && (high < 1500*time.Microsecond || low > 500*time.Microsecond) {
			t.Errorf("%s stays between %v and %v", trace.Name, low, high)
		}
	}
}

func TestReadTrace(t *testing.T) {
	trace, err := ReadTrace("own", strings.NewReader("seconds,jitter_ms\n0,0.5\n2,1.5\n4,\n"))
	want := []time.Duration{500 * time.Microsecond, 1500 * time.Microsecond, -time.Millisecond}
	if err != nil || trace.Every != 2*time.Second || !reflect.DeepEqual(trace.Value, want) {
		t.Errorf("%+v, %v", trace, err)
	}
	for _, bad := range []string{"0,1\n1,1\n2,1\n", "seconds\n0\n1\n", "a,b\n0,1\n0.2,1\n", "a,b\n0,1\n3601,1\n", "", "seconds,jitter_ms\n0,1\n", "a,b\n0,x\n1,1\n", "a,b\n0,1\n1,-2\n", "a,b\n0,1\n1,1\n3,1\n", "a,b\n1,1\n0,1\n", "a,b\n0,1\n0,1\n", "a,b\n0,NaN\n1,1\n"} {
		if _, err := ReadTrace("bad", strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// What is undone within a step of the trace is done all the same: a spike that
// no cut helps against costs a few cuts and their return, not nothing.
func TestATraceShowsEveryDecision(t *testing.T) {
	spike := Trace{Name: "spike", Every: traceStep, Value: []time.Duration{300 * time.Microsecond, 40 * time.Millisecond, -1, 300 * time.Microsecond}}
	s := summarise(spike, TraceRun{law.Adaptive, RunTrace(t.Context(), spike, lawNamed(t, law.Adaptive))})
	if s.Cuts == 0 || s.Raises == 0 || s.Least >= traceStart {
		t.Errorf("a law that cuts and restores within 5 s: %+v", s)
	}
	if *s.Lowest != 0.3 || *s.Highest != 40 || math.Abs(*s.Mean-40.6/3) > 1e-9 {
		t.Errorf("jitter of what was measured from %v to %v, mean %v", *s.Lowest, *s.Highest, *s.Mean)
	}
	var csv bytes.Buffer
	if err := writeTrace(&csv, []TraceRun{{law.Stepwise, RunTrace(t.Context(), spike, lawNamed(t, law.Stepwise))}}); err != nil {
		t.Fatal(err)
	}
	if want := "step,10.25,,60000000,cut,violation\n"; !strings.Contains(csv.String(), want) {
		t.Errorf("no empty jitter, as in the input, where nothing was measured: want %q in\n%s", want, &csv)
	}
	if n := len(measured(spike)); n != 2 {
		t.Errorf("drawn in %d parts, want two", n)
	}
	blind := Trace{Name: "blind", Every: traceStep, Value: []time.Duration{-1, -1}}
	if s := summarise(blind, TraceRun{law.Adaptive, RunTrace(t.Context(), blind, lawNamed(t, law.Adaptive))}); s.Lowest != nil || s.Cuts+s.Raises > 0 {
		t.Errorf("nothing measured: %+v", s)
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("seconds,jitter_ms\n0,0.5\n5,3\n")
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := ReadTrace("fuzz", strings.NewReader(text))
		if err == nil && (trace.Every <= 0 || len(trace.Value) < 2) {
			t.Fatalf("%+v", trace)
		}
	})
}

func TestTheReportIsReproducible(t *testing.T) {
	world := worldNamed(t, "jitter-spike")
	world.Apps[0].SLO = workload.SLO{Latency: 2 * time.Millisecond}
	suite := Suite{
		Scenarios: []Scenario{world}, Traces: Traces()[:1],
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
