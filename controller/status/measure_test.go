package status

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// The state is the judgement's, and the figures are those that made it so.
func TestJudged(t *testing.T) {
	const ms = time.Millisecond
	app := &plan.App{SLO: workload.SLO{Jitter: ms}}
	reading := func(tail time.Duration) sense.Reading {
		return sense.Reading{Samples: 12, Tail: tail, Base: plan.Base{Delay: ms / 2, Known: true}}
	}
	for name, tt := range map[string]struct {
		verdict sense.Verdict
		state   string
		jitter  float64
	}{
		"well":      {sense.Verdict{App: app, Worst: reading(ms / 4)}, OK, 0.25},
		"late":      {sense.Verdict{App: app, Worst: reading(4 * ms)}, Violated, 4},
		"blind":     {sense.Verdict{App: app, Blind: true}, Blind, 0},
		"its host":  {sense.Verdict{App: app, Worst: reading(0), Elsewhere: &sense.Verdict{App: app, Worst: reading(3 * ms)}}, Violated, 3},
		"half full": {sense.Verdict{App: app, Worst: reading(ms * 7 / 10), Standing: true}, OK, 0.7},
	} {
		if state, m := Judged(&tt.verdict); state != tt.state || m.JitterMs != tt.jitter {
			t.Errorf("%s: %s with %v ms of jitter, want %s with %v", name, state, m.JitterMs, tt.state, tt.jitter)
		}
	}
}

func TestViolationRatio(t *testing.T) {
	const ms = time.Millisecond
	samples := []plan.Sample{{RTT: ms}, {RTT: 3 * ms}, {RTT: 12 * ms}, {Lost: true}}
	for _, tt := range []struct {
		slo  workload.SLO
		want int
	}{
		{workload.SLO{Jitter: ms}, 3},
		{workload.SLO{Jitter: 5 * ms}, 2},
		{workload.SLO{Latency: 10 * ms}, 2},
		{workload.SLO{Loss: 0.01}, 1},
	} {
		if got, all := ViolationRatio(samples, ms, tt.slo); got != tt.want || all != 4 {
			t.Errorf("%+v: %d of %d, want %d of 4", tt.slo, got, all, tt.want)
		}
	}
}
