package sim

import (
	"cmp"
	"context"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Trace is a given series of jitter that no decision changes: it shows what a
// law does, not what comes of it.
type Trace struct {
	Name   string
	About  string
	Every  time.Duration
	Value  []time.Duration // jitter; negative: no samples
	Start  bitrate.Rate    // of its one sender's limit; 0: TraceStart
	Target time.Duration   // of its one app's jitter; 0: 1 ms
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

// traceLoop is the time between two steps of the law: that of production.
const traceLoop = 100 * time.Millisecond

// TraceStart is the limit that a trace's one sender starts with, as in the
// original.
const TraceStart = 100 * bitrate.Mbit

// Defaults fills in what is not given.
func (t Trace) Defaults() Trace {
	t.Start, t.Target = cmp.Or(t.Start, TraceStart), cmp.Or(t.Target, time.Millisecond)
	return t
}

// RunTrace shows a trace to a law, until its end or that of ctx. The sender uses
// all that it may.
func RunTrace(ctx context.Context, t Trace, l law.Law) []TracePoint {
	t = t.Defaults()
	run := law.Run{Law: l}
	o := t.observation()
	session, sender := &o.Apps[0].Sessions[0], &o.Senders[0]
	var points []TracePoint
	last := TracePoint{Limit: t.Start}
	for i, jitter := range t.Value {
		begin := time.Duration(i) * t.Every
		last.At, last.Jitter = begin, jitter
		points = append(points, last)
		if i%64 == 0 && ctx.Err() != nil {
			break
		}
		for at := begin; at < begin+t.Every; at += traceLoop {
			session.Samples = traceSamples(session.Samples, at, traceLoop, jitter)
			now := at + traceLoop
			o.At, sender.Limit = Epoch.Add(now), last.Limit
			sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(o.At), Tx: last.Limit})
			sender.Rates = sender.Rates[max(0, len(sender.Rates)-int(time.Second/reportEvery)):]
			session.Base = plan.Base{}
			p := run.Step(o)
			if len(p.Reasons) > 0 {
				last.Action, last.Cause = p.Reasons[0].Action, p.Reasons[0].Cause
			}
			for _, change := range p.Limits {
				last.At, last.Limit = now, change.To
				points = append(points, last)
			}
		}
	}
	return points
}

// traceSamples appends probes whose interquartile range and 95th percentile of
// delay variation are both the given jitter: two of three are late by it.
func traceSamples(samples []plan.Sample, at, span, jitter time.Duration) []plan.Sample {
	for sent := at; jitter >= 0 && sent < at+span; sent += probeEvery {
		s := plan.Sample{At: plan.At(Epoch.Add(sent)), RTT: 300 * time.Microsecond}
		if (sent/probeEvery)%3 != 0 {
			s.RTT += jitter
		}
		samples = append(samples, s)
	}
	return samples[max(0, len(samples)-int(history/probeEvery)):]
}

// observation is one app and one sender, before anything was seen of them.
func (t Trace) observation() plan.Observation {
	return plan.Observation{
		Apps: []plan.App{{
			Pod: podID("robot-control"), Node: "n1", Rank: 100, Protocol: workload.UDP,
			SLO:      workload.SLO{Jitter: t.Target},
			Sessions: []plan.Session{{ID: "trace", Vantage: "n2"}},
		}},
		Senders: []plan.Sender{{
			Pod: podID("telemetry-upload"), Node: "n1", Weight: 1, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit,
		}},
	}
}
