package main

import (
	"context"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/fq/figure"
)

// raise asks what it costs a pod without a limit, behind a bottleneck, that two pods
// of TCP have theirs changed: written anew, raised at once, or raised by way of 3 %.
func raise(d time.Duration, wanted only) error {
	for _, c := range []struct {
		name          string
		from, via, to bitrate.Rate // each pod's; a via of 0 is none
	}{
		{"same", 97 * bitrate.Mbit, 0, 97 * bitrate.Mbit},
		{"at-once", 54 * bitrate.Mbit, 0, 97 * bitrate.Mbit},
		{"by-way-of-little", 54 * bitrate.Mbit, 1600 * bitrate.Kbit, 97 * bitrate.Mbit},
		{"by-way-of-a-tenth", 54 * bitrate.Mbit, 5 * bitrate.Mbit, 97 * bitrate.Mbit},
	} {
		if wanted.not(c.name) {
			continue
		}
		v, err := raiseFrom(c.from, c.via, c.to, d)
		if err != nil {
			return err
		}
		if err := print("raise", c.name, v); err != nil {
			return err
		}
	}
	return nil
}

func raiseFrom(from, via, to bitrate.Rate, d time.Duration) (figure.Values, error) {
	const limited, filling, low = 2, 1500 * time.Millisecond, 400 * time.Millisecond
	s, err := newNarrowStand(limited + 1)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if s.probes, err = newProber(s.peer, s.pods[limited], podAddr(limited)); err != nil {
		return nil, err
	}
	set := func(rate bitrate.Rate) error {
		for i := range limited {
			if err := s.limiter.set(podAddr(i), rate, priorityBestEffort); err != nil {
				return err
			}
		}
		return nil
	}
	if err := set(from); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	began, clock := time.Now(), now()
	waits, err := s.send(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	time.Sleep(filling)
	if via > 0 {
		if err := set(via); err != nil {
			return nil, err
		}
		time.Sleep(low)
	}
	raised := time.Since(began)
	if err := set(to); err != nil {
		return nil, err
	}
	<-ctx.Done()
	for _, wait := range waits {
		wait()
	}
	s.probes.collect()
	v := figure.Values{"late_ms": 0, "worst_ms": 0, "last_late_ms": 0, "rate_mbit": s.sink.rate(clock+filling+time.Second, clock+d)}
	for _, p := range s.probes.samples {
		at := p.collected.Add(-p.Age).Sub(began)
		if at < filling || at >= d {
			continue
		}
		v["worst_ms"] = max(v["worst_ms"], p.RTT.Seconds()*1e3)
		if p.Lost || p.RTT > target {
			v["late_ms"] += float64(probing.Milliseconds())
			v["last_late_ms"] = max(v["last_late_ms"], float64((at - raised).Milliseconds()))
			fmt.Printf("%6.2f s after the raise: %5.1f ms\n", (at - raised).Seconds(), p.RTT.Seconds()*1e3)
		}
	}
	return v, nil
}

// probing is the time between two probes, on average.
const probing = 20 * time.Millisecond
