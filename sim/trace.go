package sim

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Trace is a given series of jitter that no decision changes: it shows what a
// law does, not what comes of it.
type Trace struct {
	Name  string
	About string
	Every time.Duration
	Value []time.Duration // jitter; negative: no samples
}

// The steps that a trace may have: no shorter than the law's own.
const minTraceStep, maxTraceStep = traceLoop, time.Hour

// ReadTrace reads a trace from CSV: a header, then lines of "seconds,jitter_ms"
// in even steps from 250 ms to an hour; an empty jitter means that nothing was
// measured.
func ReadTrace(name string, r io.Reader) (Trace, error) {
	records, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return Trace{}, fmt.Errorf("read trace %s: %w", name, err)
	}
	if len(records) < 3 {
		return Trace{}, fmt.Errorf("read trace %s: want a header and at least two lines of seconds,jitter_ms, got %d lines", name, len(records))
	}
	if len(records[0]) < 2 {
		return Trace{}, fmt.Errorf("read trace %s: want columns seconds,jitter_ms, got one", name)
	}
	if _, err := strconv.ParseFloat(records[0][0], 64); err == nil {
		return Trace{}, fmt.Errorf("read trace %s, line 1: want a header, seconds,jitter_ms, got %q", name, records[0])
	}
	t := Trace{Name: name, About: "from " + name}
	var times []float64
	for n, record := range records[1:] {
		at, err := field(record, 0)
		if err != nil {
			return Trace{}, fmt.Errorf("read trace %s, line %d, seconds: %w", name, n+2, err)
		}
		value := -1.0
		if record[1] != "" {
			if value, err = field(record, 1); err != nil {
				return Trace{}, fmt.Errorf("read trace %s, line %d, jitter_ms: %w", name, n+2, err)
			}
		}
		times = append(times, at)
		t.Value = append(t.Value, time.Duration(value*float64(time.Millisecond)))
	}
	t.Every = time.Duration((times[1] - times[0]) * float64(time.Second))
	if t.Every > 0 && (t.Every < minTraceStep || t.Every > maxTraceStep) {
		return Trace{}, fmt.Errorf("read trace %s, line 3: steps of %v must be from %v to %v", name, t.Every, minTraceStep, maxTraceStep)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i] - times[i-1]; t.Every <= 0 || math.Abs(gap-t.Every.Seconds()) > 0.01*t.Every.Seconds() {
			return Trace{}, fmt.Errorf("read trace %s, line %d: the steps must be even and forward, got %gs after %v", name, i+2, gap, t.Every)
		}
	}
	return t, nil
}

func field(record []string, i int) (float64, error) {
	v, err := strconv.ParseFloat(record[i], 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return 0, fmt.Errorf("%q must be a number from 0 to 1000000", record[i])
	}
	return v, nil
}

// TracePoint is a value of a trace when it began, or a change of the limit: what
// is in force from then on, and what was decided last.
type TracePoint struct {
	At     time.Duration
	Jitter time.Duration // negative: no samples
	Limit  bitrate.Rate
	Action plan.Action
	Cause  plan.Cause
}

// traceLoop is the time between two steps of the law.
const traceLoop = 250 * time.Millisecond

// TraceStart is the limit that a trace's one sender starts with, as in the
// original.
const TraceStart = 100 * bitrate.Mbit

// RunTrace shows a trace to a law, until its end or that of ctx. The sender uses
// all that it may.
func RunTrace(ctx context.Context, t Trace, l law.Law) []TracePoint {
	limit := TraceStart
	run := law.Run{Law: l}
	var samples []plan.Sample
	var points []TracePoint
	var action plan.Action
	var cause plan.Cause
	for i, jitter := range t.Value {
		begin := time.Duration(i) * t.Every
		points = append(points, TracePoint{At: begin, Jitter: jitter, Limit: limit, Action: action, Cause: cause})
		for at := begin; at < begin+t.Every && ctx.Err() == nil; at += traceLoop {
			samples = append(samples, traceSamples(at, traceLoop, jitter)...)
			samples = samples[max(0, len(samples)-int(history/probeEvery)):]
			now := at + traceLoop
			p := run.Step(traceObservation(Epoch.Add(now), samples, limit))
			if len(p.Reasons) > 0 {
				action, cause = p.Reasons[0].Action, p.Reasons[0].Cause
			}
			for _, change := range p.Limits {
				limit = change.To
				points = append(points, TracePoint{At: now, Jitter: jitter, Limit: limit, Action: action, Cause: cause})
			}
		}
	}
	return points
}

// traceSamples is probes whose interquartile range and 95th percentile of
// delay variation are both the given jitter: two of three are late by it.
func traceSamples(at, span, jitter time.Duration) []plan.Sample {
	if jitter < 0 {
		return nil
	}
	var samples []plan.Sample
	for sent := at; sent < at+span; sent += probeEvery {
		s := plan.Sample{At: Epoch.Add(sent), RTT: 300 * time.Microsecond}
		if (sent/probeEvery)%3 != 0 {
			s.RTT += jitter
		}
		samples = append(samples, s)
	}
	return samples
}

func traceObservation(now time.Time, samples []plan.Sample, limit bitrate.Rate) plan.Observation {
	var rates []plan.TxRate
	for k := 9; k >= 0; k-- {
		rates = append(rates, plan.TxRate{At: now.Add(-time.Duration(k) * reportEvery), Tx: limit})
	}
	return plan.Observation{
		At: now,
		Apps: []plan.App{{
			Pod: podID("robot-control"), Node: "n1", Rank: 100, Protocol: workload.UDP,
			SLO:      workload.SLO{Jitter: time.Millisecond},
			Sessions: []plan.Session{{ID: "trace", Vantage: "n2", Samples: samples}},
		}},
		Senders: []plan.Sender{{
			Pod: podID("telemetry-upload"), Node: "n1", Weight: 1,
			Min: 10 * bitrate.Mbit, Max: bitrate.Gbit, Limit: limit, Rates: rates,
		}},
	}
}
