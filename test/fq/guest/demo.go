package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
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

// asDeployed asks the same of the programs of detnet.
func asDeployed(d time.Duration, wanted only) error {
	for _, load := range []string{"tcp", "udp", "bursty"} {
		if wanted.not(load) {
			continue
		}
		v, err := agentsUnder(load, d)
		if err != nil {
			return fmt.Errorf("%s: %w", load, err)
		}
		if err := print("agents", load, v); err != nil {
			return err
		}
	}
	return nil
}

const cutPods = 2 // that send the load, beside the one that is measured

func agentsUnder(load string, d time.Duration) (figure.Values, error) {
	s, err := newNarrowStand(cutPods + 1)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := newDeployed(ctx, s, cutPods, 1)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return s.controlled(l, load, d)
}

func demoUnder(load string, static bool, d time.Duration) (figure.Values, error) {
	s, err := newNarrowStand(cutPods + 1)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.probes, err = newProber(s.peer, s.pods[cutPods], podAddr(cutPods)); err != nil {
		return nil, err
	}
	l, err := newLoop(s, cutPods, 1)
	if err != nil {
		return nil, err
	}
	if !static {
		return s.controlled(l, load, d)
	}
	for i := range cutPods {
		if err := s.limiter.set(podAddr(i), bottleneck*99/100/cutPods, priorityBestEffort); err != nil {
			return nil, err
		}
	}
	return s.controlled(idle{l}, load, d)
}

// idle leaves limits as they are.
type idle struct{ *loop }

func (idle) run(ctx context.Context) error { <-ctx.Done(); return nil }

// control moves limits.
type control interface {
	run(context.Context) error
	measured() []plan.Sample                     // oldest first
	written() (cuts []time.Duration, writes int) // when, since it began
}

// controlled puts a load on for d.
func (s *stand) controlled(by control, load string, d time.Duration) (figure.Values, error) {
	ctx, stop := context.WithTimeout(context.Background(), calm+d)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- by.run(ctx) }()
	began, clock, waited := time.Now(), now(), s.follow()
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
	s.show(waited(), clock)
	return s.figures(by, began, clock, d), nil
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
func (s *stand) figures(of control, began time.Time, clock, d time.Duration) figure.Values {
	run := score.Run{Onset: calm, End: calm + d, Until: calm + d, Senders: []score.Sender{{}}}
	var delays []float64
	base, samples := time.Hour, of.measured()
	for _, s := range samples {
		if !s.Lost {
			base = min(base, s.RTT)
		}
	}
	for _, s := range samples {
		at := s.At.Time().Sub(began)
		run.Probes = append(run.Probes, score.Probe{At: at, Late: s.Lost || s.RTT > base+target})
		if at >= calm && !s.Lost {
			delays = append(delays, float64(s.RTT)/float64(time.Millisecond))
		}
	}
	for at := calm; at < calm+d; at += step {
		sent := bitrate.Rate(s.sink.rate(clock+at, clock+at+step) * float64(bitrate.Mbit))
		one := []bitrate.Rate{0}
		run.Points = append(run.Points, score.Point{At: at + step, Limits: one, Goodput: []bitrate.Rate{sent}, Offered: one, Waiting: one})
	}
	f := score.Of(run)
	cuts, writes := of.written()
	v := figure.Values{
		"late_percent": 100 * f.Violation, "best_effort_mbit": f.Goodput.Mbit(), "clean_ms": -1, // not in that time
		"probe_p50_ms": quantile.Of(slices.Sorted(slices.Values(delays)), 0.5), "first_cut_ms": -1, "writes": float64(writes),
	}
	if f.Clean >= 0 {
		v["clean_ms"] = float64(f.Clean.Milliseconds())
	}
	if len(cuts) > 0 {
		v["first_cut_ms"] = float64((cuts[0] - calm).Milliseconds())
	}
	return v
}
