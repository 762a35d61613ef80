package status

import (
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// Judged is the state of an app and the figures that make it so.
func Judged(v *sense.Verdict) (string, Measures) {
	worst := v
	if v.Elsewhere != nil {
		worst = v.Elsewhere
	}
	switch {
	case v.Blind:
		return Blind, Measures{}
	case v.Violated():
		return Violated, MeasuresOf(&worst.Worst)
	}
	return OK, MeasuresOf(&worst.Worst)
}

// MeasuresOf is what one session says.
func MeasuresOf(r *sense.Reading) Measures {
	m := Measures{Loss: r.Lost}
	if r.Samples > 0 {
		m.JitterMs, m.LatencyMs = Milliseconds(r.Jitter()), Milliseconds(r.Latency())
	}
	return m
}

// ViolationRatio is the share of samples, lost ones included, that break slo.
func ViolationRatio(samples []plan.Sample, base time.Duration, slo workload.SLO) (violations, all int) {
	for _, s := range samples {
		if s.Lost || slo.Late(s.RTT-base, s.RTT) {
			violations++
		}
	}
	return violations, len(samples)
}

// Targets are what slo asks for.
func Targets(slo workload.SLO) Measures {
	return Measures{Milliseconds(slo.Jitter), Milliseconds(slo.Latency), slo.Loss}
}
