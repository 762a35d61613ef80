package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/detnet/detnet/agent/pods"
	uplinks "github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// loop is as little of detnet as closes a loop around a network: the agent's meter and
// probes, the production law, and a limiter like Cilium's that puts each limit in
// force after the time that a patch takes.
type loop struct {
	*stand
	law     law.Run
	meter   *usage.Meter
	cursor  uint64
	rng     *rand.Rand
	senders []plan.Sender
	samples []plan.Sample
	began   time.Time
	cuts    []time.Duration // when, since it began
	writes  int
}

const (
	step        = 100 * time.Millisecond // between two looks of the law
	remembered  = 3 * time.Second
	patchLeast  = 50 * time.Millisecond
	patchSpread = 100 * time.Millisecond
	target      = time.Millisecond // above the empty path
	namespace   = "office"
)

// listed are the limited pods, as the agent's watch would tell the meter.
type listed []pods.Pod

func (l listed) List() []pods.Pod { return l }

func newLoop(s *stand, limited int, seed uint64) (*loop, error) {
	l := &loop{stand: s, rng: rand.New(rand.NewPCG(seed, 0))}
	adaptive, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		return nil, err
	}
	l.law.Law = adaptive
	var list listed
	for i := range limited {
		name := fmt.Sprint(i)
		list = append(list, pods.Pod{Namespace: namespace, Name: name, UID: name, IPs: []netip.Addr{netip.MustParseAddr(podAddr(i))}})
		l.senders = append(l.senders, plan.Sender{
			Pod: plan.PodID{Namespace: namespace, Name: name}, Node: "node", Weight: 1,
			Min: bitrate.Min, Max: bitrate.Gbit, Limit: bitrate.Gbit, Limiter: limitedBy.is,
		})
		if err := s.limiter.set(podAddr(i), bitrate.Gbit, priorityBestEffort); err != nil {
			return nil, err
		}
	}
	return l, s.node.do(func() (err error) {
		if l.meter, err = usage.New(list, nil, nil, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
		l.meter.Uplinks, err = uplinks.NewWatch(slog.New(slog.DiscardHandler))
		return err
	})
}

// run looks each step until ctx ends.
func (l *loop) run(ctx context.Context) error {
	metering := make(chan error, 2)
	go func() { metering <- l.meter.Uplinks.Run(ctx) }()
	go func() { metering <- l.meter.Run(ctx) }()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	l.began = time.Now()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(<-metering, <-metering)
		case <-ticker.C:
		}
		now := time.Now()
		if err := l.carryOut(l.law.Step(l.observe(now)), now); err != nil {
			return err
		}
	}
}

func (l *loop) written() ([]time.Duration, int) { return l.cuts, l.writes }

func (l *loop) measured() []plan.Sample {
	l.probes.collect()
	var all []plan.Sample
	for _, s := range l.probes.samples {
		all = append(all, plan.Sample{At: plan.At(s.collected.Add(-s.Age)), RTT: s.RTT, Lost: s.Lost})
	}
	return all
}

func (l *loop) observe(now time.Time) plan.Observation {
	for _, s := range l.probes.collect() {
		l.samples = append(l.samples, plan.Sample{
			At: plan.At(now.Add(-s.Age)), RTT: s.RTT, Lost: s.Lost, HasOneWay: s.HasOneWay, Forward: s.Forward,
		})
	}
	for len(l.samples) > 0 && now.Sub(l.samples[0].At.Time()) > remembered {
		l.samples = l.samples[1:]
	}
	rates, cursor := l.meter.Since(l.cursor)
	l.cursor = cursor
	for i := range l.senders {
		s := &l.senders[i]
		for _, r := range rates {
			if r.Name == s.Pod.Name {
				s.Rates = append(s.Rates, plan.TxRate{At: plan.At(r.At), Tx: r.Tx, Out: r.Out})
			}
		}
		for len(s.Rates) > 0 && now.Sub(s.Rates[0].At.Time()) > remembered {
			s.Rates = s.Rates[1:]
		}
	}
	return plan.Observation{
		At: now, Senders: append([]plan.Sender(nil), l.senders...),
		Apps: []plan.App{{
			Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "node", Protocol: workload.STAMP, SLO: workload.SLO{Jitter: target},
			Sessions: []plan.Session{{ID: session, Vantage: "peer", Samples: append([]plan.Sample(nil), l.samples...)}},
		}},
	}
}

// carryOut writes limits as the API server and Cilium's agent do: each after a
// while, in order.
func (l *loop) carryOut(p plan.Plan, now time.Time) error {
	for _, limit := range p.Limits {
		for i := range l.senders {
			if l.senders[i].Pod != limit.Pod {
				continue
			}
			l.writes++
			if limit.Urgent() {
				l.cuts = append(l.cuts, now.Sub(l.began))
			}
			l.senders[i].Limit = limit.To
			fmt.Printf("%7.2f s: pod %d %v → %v\n", now.Sub(l.began).Seconds(), i, limit.From, limit.To)
			after := patchLeast + time.Duration(l.rng.Int64N(int64(patchSpread)))
			time.AfterFunc(after, func() { _ = l.limiter.set(podAddr(i), limit.To, priorityBestEffort) })
		}
	}
	return nil
}
