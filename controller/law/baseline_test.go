package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

// spread is n samples whose interquartile range and 95th percentile of delay
// variation are both d: every second one is late by it.
func spread(end time.Time, every time.Duration, n int, d time.Duration) []plan.Sample {
	samples := make([]plan.Sample, n)
	for i := range samples {
		samples[i] = plan.Sample{At: plan.At(end.Add(-time.Duration(n-1-i) * every)), RTT: ms}
		if i%2 == 1 {
			samples[i].RTT += d
		}
	}
	return samples
}

func udpApp(name string, rank int, jitter time.Duration, samples []plan.Sample) plan.App {
	return plan.App{
		Pod: plan.PodID{Namespace: "factory", Name: name}, Node: "n1", Rank: rank, Protocol: workload.UDP,
		SLO:      workload.SLO{Jitter: jitter},
		Sessions: []plan.Session{{ID: name, Vantage: "n2", Samples: samples}},
	}
}

func sender(name string, limit bitrate.Rate) plan.Sender {
	return plan.Sender{
		Pod: plan.PodID{Namespace: "office", Name: name}, Node: "n1", Weight: 1,
		Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit, Limit: limit,
	}
}

// act runs a law to its first decision: one step starts its clock, one more
// after the interval acts.
func act(t *testing.T, name string, o plan.Observation) map[string]float64 {
	t.Helper()
	return actWith(t, name, DefaultConfig(), o)
}

func actWith(t *testing.T, name string, cfg Config, o plan.Observation) map[string]float64 {
	t.Helper()
	l, err := New(name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	at := o.At
	o.At = at.Add(-5 * time.Second)
	s, p := l.Step(State{}, sense.View{Observation: plan.Observation{At: o.At}})
	if len(p.Limits) != 0 {
		t.Fatalf("%s acts on its first step: %+v", name, p.Limits)
	}
	o.At = at
	_, p = l.Step(s, sense.View{Observation: o})
	limits := map[string]float64{}
	for _, limit := range p.Limits {
		limits[limit.Pod.Name] = limit.To.Mbit()
	}
	return limits
}

func TestAIMD(t *testing.T) {
	every := 500 * ms
	tcp := func(a plan.App) plan.App { a.Protocol = workload.TCP; return a }
	tests := []struct {
		name string
		apps []plan.App
		from float64
		want float64 // 0: no write
	}{
		{"violation", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 3*ms))}, 100, 80},
		{"twenty per cent is rounded down", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 3*ms))}, 99, 80},
		{"odd", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 3*ms))}, 13, 11},
		{"floor", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 3*ms))}, 11, 10},
		{"at the floor", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 3*ms))}, 10, 0},
		{"exactly the maximum", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, ms))}, 100, 0},
		{"between half and all", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 700*time.Microsecond))}, 100, 0},
		{"exactly half", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, ms/2))}, 100, 0},
		{"below half", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 499*time.Microsecond))}, 100, 110},
		{"ceiling", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 0))}, 995, 1000},
		{"at the ceiling", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 20, 0))}, 1000, 0},
		{"four samples are no jitter", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 4, 9*ms))}, 100, 110},
		{"five samples are", []plan.App{udpApp("robot", 100, ms, spread(t0, every, 5, 9*ms))}, 100, 80},
		{"TCP does not trigger", []plan.App{
			udpApp("robot", 100, ms, spread(t0, every, 20, 0)),
			tcp(udpApp("scanner", 90, 2*ms, spread(t0, every, 20, 9*ms))),
		}, 100, 110},
		{"any UDP app triggers", []plan.App{
			udpApp("robot", 100, ms, spread(t0, every, 20, 0)),
			udpApp("welder", 50, ms, spread(t0, every, 20, 2*ms)),
		}, 100, 80},
		{"all must be below half", []plan.App{
			udpApp("robot", 100, ms, spread(t0, every, 20, 0)),
			udpApp("welder", 50, ms, spread(t0, every, 20, 700*time.Microsecond)),
		}, 100, 0},
		{"no UDP app", nil, 100, 0},
	}
	for _, tt := range tests {
		got := act(t, AIMD, plan.Observation{At: t0, Apps: tt.apps, Senders: []plan.Sender{sender("telemetry", bitrate.FromMbit(tt.from))}})
		if got["telemetry"] != tt.want {
			t.Errorf("%s: %v Mbit/s → %v, want %v", tt.name, tt.from, got["telemetry"], tt.want)
		}
	}
}

func TestStep(t *testing.T) {
	tests := []struct {
		name   string
		jitter time.Duration
		from   float64
		want   float64
	}{
		{"above", 3200 * time.Microsecond, 600, 550},
		{"just above", ms + 1, 550, 500},
		{"exactly the target", ms, 500, 0},
		{"below", 500 * time.Microsecond, 100, 110},
		{"floor", 3 * ms, 30, 10},
		{"small changes are not written, down", 3 * ms, 14, 0},
		{"small changes are not written, up", 0, 996, 0},
		{"ceiling", 0, 990, 1000},
	}
	for _, tt := range tests {
		app := udpApp("robot", 100, ms, spread(t0, 20*ms, 200, tt.jitter))
		got := act(t, Stepwise, plan.Observation{At: t0, Apps: []plan.App{app}, Senders: []plan.Sender{sender("telemetry", bitrate.FromMbit(tt.from))}})
		if got["telemetry"] != tt.want {
			t.Errorf("%s: %v Mbit/s → %v, want %v", tt.name, tt.from, got["telemetry"], tt.want)
		}
	}
	// Prometheus down: 0.5 ms is taken for granted, which is no reason to cut; and
	// what nobody saw is none to raise.
	blind := plan.Observation{At: t0, Senders: []plan.Sender{sender("telemetry", 100*bitrate.Mbit)}}
	if got := act(t, Stepwise, blind); len(got) != 0 {
		t.Errorf("without samples: %v", got)
	}
	cfg := DefaultConfig()
	cfg.Step.Assume = 2 * ms
	if got := actWith(t, Stepwise, cfg, blind); got["telemetry"] != 50 {
		t.Errorf("without samples, 2 ms taken for granted: %v", got)
	}
}

// The original's severity_max_multiplier of 3: multiplier = min(jitter ÷ max_jitter,
// severity_max_multiplier), step = int(step_down × multiplier).
func TestSeverity(t *testing.T) {
	cfg := DefaultConfig()
	cfg.AIMD.Severity, cfg.Step.Severity = 3, 3
	tests := []struct {
		law    string
		jitter time.Duration
		from   float64
		want   float64
	}{
		{AIMD, 1500 * time.Microsecond, 100, 70}, // 1.5 × 20 %
		{AIMD, 1500 * time.Microsecond, 99, 70},  // 29.7, in whole Mbit/s
		{AIMD, 2 * ms, 100, 60},
		{AIMD, 3 * ms, 100, 40},
		{AIMD, 30 * ms, 100, 40}, // not more than 3 ×
		{AIMD, 30 * ms, 20, 10},  // nor below the floor
		{AIMD, ms, 100, 0},
		{AIMD, ms / 4, 100, 110}, // raises stay as they are
		{Stepwise, 1500 * time.Microsecond, 600, 525},
		{Stepwise, 1330 * time.Microsecond, 600, 534}, // 66.5, in whole Mbit/s
		{Stepwise, 3200 * time.Microsecond, 600, 450},
		{Stepwise, 3200 * time.Microsecond, 100, 10},
		{Stepwise, ms, 600, 0},
		{Stepwise, ms / 2, 600, 610},
	}
	for _, tt := range tests {
		app := udpApp("robot", 100, ms, spread(t0, 500*ms, 20, tt.jitter))
		got := actWith(t, tt.law, cfg, plan.Observation{At: t0, Apps: []plan.App{app}, Senders: []plan.Sender{sender("telemetry", bitrate.FromMbit(tt.from))}})
		if got["telemetry"] != tt.want {
			t.Errorf("%s, jitter %v: %v Mbit/s → %v, want %v", tt.law, tt.jitter, tt.from, got["telemetry"], tt.want)
		}
	}
}

// Of several in violation the one with the highest priority is named, and only
// the newest 20 samples count.
func TestAIMDPriorityAndWindow(t *testing.T) {
	l, _ := New(AIMD, DefaultConfig())
	decide := func(apps ...plan.App) plan.Reason {
		s, _ := l.Step(State{}, sense.View{Observation: plan.Observation{At: t0.Add(-2 * time.Second)}})
		_, p := l.Step(s, sense.View{Observation: plan.Observation{At: t0, Apps: apps, Senders: []plan.Sender{sender("telemetry", 100*bitrate.Mbit)}}})
		return p.Reasons[0]
	}
	low, high := udpApp("a", 50, ms, spread(t0, 500*ms, 20, 9*ms)), udpApp("b", 100, ms, spread(t0, 500*ms, 20, 2*ms))
	for _, apps := range [][]plan.App{{low, high}, {high, low}} {
		if r := decide(apps...); r.Action != plan.Cut || r.App.Name != "b" {
			t.Errorf("decided by %+v, want b, which is more important", r)
		}
	}
	old := spread(t0.Add(-10*time.Second), 500*ms, 40, 9*ms)
	r := decide(udpApp("a", 100, ms, append(old, spread(t0, 500*ms, 20, 0)...)))
	if r.Samples != 20 || r.Action != plan.Grow {
		t.Errorf("of 60 samples, the last 20 still: %+v", r)
	}
}

// A change of exactly 5 is written; the 95th percentile, not the median, counts.
func TestStepByHand(t *testing.T) {
	tail := spread(t0, 20*ms, 200, 0)
	for i := range 11 { // 5.5 % are late
		tail[i*15].RTT += 3 * ms
	}
	few := spread(t0, 20*ms, 200, 0)
	for i := range 9 { // 4.5 % are
		few[i*15].RTT += 3 * ms
	}
	for _, tt := range []struct {
		name       string
		samples    []plan.Sample
		from, want float64
	}{
		{"exactly 5 less", spread(t0, 20*ms, 200, 3*ms), 15, 10},
		{"exactly 5 more", spread(t0, 20*ms, 200, 0), 995, 1000},
		{"4 less", spread(t0, 20*ms, 200, 3*ms), 14, 0},
		{"one in twenty late", tail, 600, 550},
		{"fewer", few, 600, 610},
	} {
		got := act(t, Stepwise, plan.Observation{At: t0, Apps: []plan.App{udpApp("robot", 100, ms, tt.samples)}, Senders: []plan.Sender{sender("telemetry", bitrate.FromMbit(tt.from))}})
		if got["telemetry"] != tt.want {
			t.Errorf("%s: %v → %v, want %v", tt.name, tt.from, got["telemetry"], tt.want)
		}
	}
}
