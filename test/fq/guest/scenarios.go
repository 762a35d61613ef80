package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/test/fq/figure"
)

// scenario is one question put to the kernel. Its run plays every case that is
// wanted for d and prints a figure each.
type scenario struct {
	name string
	run  func(d time.Duration, wanted only) error
}

// only is the case to play; empty means all.
type only string

func (o only) not(name string) bool { return o != "" && string(o) != name }

var scenarios = []scenario{
	{"throughput", throughput},
	{"change", change},
	{"bands", bands},
	{"demo", demo},
	{"agents", asDeployed},
	{"raise", raise},
}

// load is what a limited pod sends.
type load struct {
	tcp   bool
	flows int
}

func (l load) String() string {
	name := "udp"
	if l.tcp {
		name = "tcp"
	}
	return fmt.Sprintf("%s-%d", name, l.flows)
}

const (
	limited    = 20 * bitrate.Mbit
	offered    = 28 * bitrate.Mbit // by UDP, which does not listen
	settling   = 500 * time.Millisecond
	resolution = 20 * time.Millisecond
	window     = 100 * time.Millisecond
)

// stand is a network with loaded pods, and another one, the last.
type stand struct {
	*network
	limiter limiter
	sink    *sink
	probes  *prober // between the last pod and the peer; nil: none of the stand's own
}

func newStand(pods int) (*stand, error) {
	n, err := newNetwork(pods, limitedBy.fabric)
	if err != nil {
		return nil, err
	}
	s := &stand{network: n}
	if s.limiter, err = limitedBy.attach(n, limitedBy.fabric); err != nil {
		return nil, err
	}
	s.sink, err = newSink(n.peer, bulkPort)
	return s, err
}

// newProbingStand has the last pod probe the peer.
func newProbingStand(pods int) (*stand, error) {
	s, err := newStand(pods)
	if err != nil {
		return nil, err
	}
	s.probes, err = newProber(s.pods[pods-1], s.peer, peerAddr)
	return s, err
}

// newNarrowStand is one behind a narrow port: the node's uplink is paced by fq and wider.
func newNarrowStand(pods int) (*stand, error) {
	s, err := newStand(pods)
	if err != nil {
		return nil, err
	}
	if err := s.paceUplink(0); err != nil {
		s.close()
		return nil, err
	}
	if err := s.narrowPort(bottleneck, queue); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stand) close() {
	if s.probes != nil {
		s.probes.close()
	}
	s.sink.close()
	s.limiter.close()
	s.network.close()
}

// under runs a load for d and does f meanwhile.
func (s *stand) under(l load, d time.Duration, f func() error) error {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	start := func() (func(), error) { return sendUDP(ctx, s.pods[0], l.flows, offered, 0) }
	if l.tcp {
		start = func() (func(), error) { return sendTCP(ctx, s.pods[0], l.flows) }
	}
	wait, err := start()
	if err != nil {
		return err
	}
	defer wait()
	if err := f(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// with adds what the probes saw.
func (s *stand) with(v figure.Values) figure.Values {
	s.probes.collect()
	delays, lost := s.probes.delays()
	v["probe_p50_ms"], v["probe_p99_ms"], v["probe_lost"] = quantile.Of(delays, 0.5), quantile.Of(delays, 0.99), lost
	return v
}

func print(scenario, variant string, v figure.Values) error {
	return figure.Print(os.Stdout, figure.Figure{Scenario: scenario, Case: variant, Values: v})
}

// show prints what waited, and what came in the tenth of a second before, since a time.
func (s *stand) show(waited []backlog, since time.Duration) {
	for _, b := range waited {
		fmt.Printf("%7.2f s: %5.0f kB wait, %5.1f Mbit/s\n", (b.at - since).Seconds(), b.kb, s.sink.rate(b.at-window, b.at))
	}
}

// throughput asks what a limit of 20 Mbit/s lets through, and what it costs a
// pod without a limit.
func throughput(d time.Duration, wanted only) error {
	for _, l := range []load{{true, 1}, {true, 4}, {true, 30}, {false, 1}, {false, 4}, {false, 30}} {
		if wanted.not(l.String()) {
			continue
		}
		s, err := newProbingStand(2)
		if err != nil {
			return err
		}
		if err := s.paceUplink(0); err != nil {
			return err
		}
		if err := s.limiter.set(podAddr(0), limited, priorityBestEffort); err != nil {
			return err
		}
		begin := now()
		if err := s.under(l, d, func() error { return nil }); err != nil {
			return err
		}
		v := s.with(figure.Values{"rate_mbit": s.sink.rate(begin+settling, begin+d)})
		s.close()
		if err := print("throughput", l.String(), v); err != nil {
			return err
		}
	}
	return nil
}

// change asks how soon a new limit is that of the traffic, what goes through beyond it
// until then, and what waits at the uplink before and long after.
func change(d time.Duration, wanted only) error {
	for _, c := range []struct {
		load
		to        bitrate.Rate
		flowLimit uint32
	}{
		{load{true, 4}, 10 * bitrate.Mbit, 0}, {load{false, 30}, 10 * bitrate.Mbit, 0}, {load{false, 1}, 10 * bitrate.Mbit, 4000},
		{load{true, 4}, 30 * bitrate.Mbit, 0}, {load{false, 30}, 26 * bitrate.Mbit, 0},
	} {
		name := fmt.Sprintf("%s-to-%.0fM", c.load, c.to.Mbit())
		if c.flowLimit > 0 {
			name += fmt.Sprintf("-flow-limit-%d", c.flowLimit)
		}
		if wanted.not(name) {
			continue
		}
		s, err := newProbingStand(2)
		if err != nil {
			return err
		}
		if err := s.paceUplink(c.flowLimit); err != nil {
			return err
		}
		if err := s.limiter.set(podAddr(0), limited, priorityBestEffort); err != nil {
			return err
		}
		var at time.Duration
		var before, after float64
		begin, waited := now(), s.follow()
		if err := s.under(c.load, d, func() (err error) {
			time.Sleep(d / 2)
			if before, err = s.waiting(); err != nil {
				return err
			}
			at = now()
			if err := s.limiter.set(podAddr(0), c.to, priorityBestEffort); err != nil {
				return err
			}
			time.Sleep(d/2 - window)
			after, err = s.waiting()
			return err
		}); err != nil {
			return err
		}
		s.show(waited(), begin)
		v := s.with(s.effect(at, d/2, c.to))
		v["waiting_before_kb"], v["waiting_after_kb"] = before, after
		s.close()
		if err := print("change", name, v); err != nil {
			return err
		}
	}
	return nil
}

// effect describes the d before and after a change: the mean rates, until when
// some tenth of a second had more than 1.2 times the new rate, and the most by
// which the volume since the change was ahead of it.
func (s *stand) effect(at, d time.Duration, to bitrate.Rate) figure.Values {
	v := figure.Values{
		"before_mbit": s.sink.rate(at-d+settling, at),
		"after_mbit":  s.sink.rate(at+d/2, at+d),
		"effect_ms":   0,
		"surplus_kb":  0,
	}
	for t := resolution; t <= d; t += resolution {
		if t >= window && s.sink.rate(at+t-window, at+t) > 1.2*to.Mbit() {
			v["effect_ms"] = float64(t.Milliseconds())
		}
		ahead := (s.sink.rate(at, at+t) - to.Mbit()) * t.Seconds() * 1e3 / 8
		v["surplus_kb"] = max(v["surplus_kb"], ahead)
	}
	return v
}

// bands asks what priorities are worth where fq is the queue of the bottleneck:
// an uplink of 20 Mbit/s, with 30 flows waiting before it.
func bands(d time.Duration, wanted only) error {
	for _, c := range []struct {
		name                 string
		critical, besteffort uint64
	}{{"none", 0, 0}, {"guaranteed-besteffort", priorityGuaranteed, priorityBestEffort}} {
		if wanted.not(c.name) {
			continue
		}
		s, err := newProbingStand(2)
		if err != nil {
			return err
		}
		if err := s.narrowUplink(limited); err != nil {
			return err
		}
		for i, priority := range []uint64{c.besteffort, c.critical} {
			if err := s.limiter.set(podAddr(i), 0, priority); err != nil {
				return err
			}
		}
		begin := now()
		if err := s.under(load{false, 30}, d, func() error { return nil }); err != nil {
			return err
		}
		v := s.with(figure.Values{"rate_mbit": s.sink.rate(begin+settling, begin+d)})
		s.close()
		if err := print("bands", c.name, v); err != nil {
			return err
		}
	}
	return nil
}
