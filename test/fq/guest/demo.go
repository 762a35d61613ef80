package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/sim/score"
	"github.com/detnet/detnet/test/fq/figure"
)

// The demo's link and loads, smaller: what fits through, and a queue of 40 ms.
const (
	bottleneck = 200 * bitrate.Mbit
	queue      = 1_000_000
	calm       = 2 * time.Second // before the load
	flows      = 4
)

// demo asks what the production law makes of the demo's three loads, behind a
// switch's port: probes that are late, best effort that gets through, the first
// cut and when it is clean. The same with static limits of all but 1 % of the link
// tells what there is to be had.
func demo(d time.Duration, wanted only) error {
	for _, load := range []string{"tcp", "udp", "bursty"} {
		for _, static := range []bool{false, true} {
			name := load
			if static {
				name += "-static"
			}
			if wanted.not(name) {
				continue
			}
			v, err := demoUnder(load, static, d)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := print("demo", name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func demoUnder(load string, static bool, d time.Duration) (figure.Values, error) {
	const limited = 2
	s, err := newNarrowStand(limited + 1)
	if err != nil {
		return nil, err
	}
	defer s.close()
	l, err := newLoop(s, limited, 1)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), calm+d)
	defer stop()
	ended := make(chan error, 1)
	if static {
		for i := range limited {
			if err := s.limiter.set(podAddr(i), bottleneck*99/100/limited, priorityBestEffort); err != nil {
				return nil, err
			}
		}
		go func() { <-ctx.Done(); ended <- nil }()
	} else {
		go func() { ended <- l.run(ctx) }()
	}
	began, clock := time.Now(), now()
	time.Sleep(calm)
	waits, err := s.send(ctx, load)
	if err != nil {
		return nil, err
	}
	err = <-ended
	for _, wait := range waits {
		wait()
	}
	if err != nil {
		return nil, err
	}
	return l.figures(began, clock, d), nil
}

// send starts a load of the demo.
func (s *stand) send(ctx context.Context, load string) (waits []func(), err error) {
	tcp := func(i int) (func(), error) { return sendTCP(ctx, s.pods[i], flows) }
	udp := func(i int) (func(), error) { return sendUDP(ctx, s.pods[i], 1, bottleneck*3/4, 0) }
	bursts := func(i int) (func(), error) { return sendBursts(ctx, s.pods[i], flows, 3*time.Second, 2*time.Second) }
	of := map[string][]func(int) (func(), error){"tcp": {tcp, tcp}, "udp": {udp, udp}, "bursty": {udp, bursts}}
	for i, start := range of[load] {
		wait, err := start(i)
		if err != nil {
			return nil, err
		}
		waits = append(waits, wait)
	}
	return waits, nil
}

// figures are those that a run of the simulator has, by their one definition.
func (l *loop) figures(began time.Time, clock time.Duration, d time.Duration) figure.Values {
	l.probes.collect()
	run := score.Run{Onset: calm, End: calm + d, Until: calm + d, Senders: []score.Sender{{}}}
	var delays []float64
	base := time.Hour
	for _, s := range l.probes.samples {
		if !s.Lost {
			base = min(base, s.RTT)
		}
	}
	for _, s := range l.probes.samples {
		at := s.collected.Add(-s.Age).Sub(began)
		run.Probes = append(run.Probes, score.Probe{At: at, Late: s.Lost || s.RTT > base+target})
		if at >= calm && !s.Lost {
			delays = append(delays, float64(s.RTT)/float64(time.Millisecond))
		}
	}
	for at := calm; at < calm+d; at += step {
		sent := bitrate.Rate(l.sink.rate(clock+at, clock+at+step) * float64(bitrate.Mbit))
		one := []bitrate.Rate{0}
		run.Points = append(run.Points, score.Point{At: at + step, Limits: one, Goodput: []bitrate.Rate{sent}, Offered: one, Waiting: one})
	}
	f := score.Of(run)
	v := figure.Values{
		"late_percent": 100 * f.Violation, "best_effort_mbit": f.Goodput.Mbit(), "clean_ms": float64(f.Clean.Milliseconds()),
		"probe_p50_ms": quantile.Of(slices.Sorted(slices.Values(delays)), 0.5), "first_cut_ms": -1, "writes": float64(l.writes),
	}
	if len(l.cuts) > 0 {
		v["first_cut_ms"] = float64((l.cuts[0] - calm).Milliseconds())
	}
	return v
}
