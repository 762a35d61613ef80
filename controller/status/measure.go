package status

import (
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Spans that a person wants to see; a law looks at shorter ones. A loss is
// known only after the probe's timeout of a second, hence the longer ones.
const (
	delaySpan = time.Second
	blindSpan = 2 * time.Second
	lossSpan  = 3 * time.Second
)

// Measure summarises one session: base is its least round trip. Without any
// sample, lost or not, in the last two seconds the session is blind.
func Measure(samples []plan.Sample, base time.Duration, now time.Time) (m Measures, n int, blind bool) {
	var rtts []time.Duration
	var sent, lost int
	blind = true
	for _, s := range samples {
		age := now.Sub(s.At)
		if age > lossSpan {
			continue
		}
		sent++
		if s.Lost {
			lost++
		}
		if age <= blindSpan {
			blind = false
		}
		if age <= delaySpan && !s.Lost {
			rtts = append(rtts, s.RTT)
		}
	}
	if sent > 0 {
		m.Loss = float64(lost) / float64(sent)
	}
	if len(rtts) > 0 {
		slices.Sort(rtts)
		p90 := rtts[(len(rtts)-1)*9/10]
		m.LatencyMs = Milliseconds(p90)
		m.JitterMs = Milliseconds(p90 - base)
	}
	return m, len(rtts), blind
}

// ViolationRatio is the share of samples, lost ones included, that break slo.
func ViolationRatio(samples []plan.Sample, base time.Duration, slo workload.SLO) (violations, all int) {
	for _, s := range samples {
		if s.Lost || (slo.Jitter > 0 && s.RTT-base > slo.Jitter) || (slo.Latency > 0 && s.RTT > slo.Latency) {
			violations++
		}
	}
	return violations, len(samples)
}

// Judge compares what was measured with what is asked for.
func Judge(m Measures, target Measures) string {
	over := func(measured, target float64) bool { return target > 0 && measured > target }
	if over(m.JitterMs, target.JitterMs) || over(m.LatencyMs, target.LatencyMs) || over(m.Loss, target.Loss) {
		return Violated
	}
	return OK
}

// Worst takes the greater of each measure.
func Worst(a, b Measures) Measures {
	return Measures{
		JitterMs:  math.Max(a.JitterMs, b.JitterMs),
		LatencyMs: math.Max(a.LatencyMs, b.LatencyMs),
		Loss:      math.Max(a.Loss, b.Loss),
	}
}

// Targets are what slo asks for.
func Targets(slo workload.SLO) Measures {
	return Measures{Milliseconds(slo.Jitter), Milliseconds(slo.Latency), slo.Loss}
}
