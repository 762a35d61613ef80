package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/workload"
)

// prober measures from one host to another as the agent does: the agent's
// session-sender and session-reflector, STAMP, 50 packets a second.
type prober struct {
	sender  *probe.Sender
	stop    context.CancelFunc
	running sync.WaitGroup
	samples []sample
}

// sample is one probe and when its sender was asked for it.
type sample struct {
	probe.Sample
	collected time.Time
}

const session = "probe"

func newProber(from, to *host, addr string) (*prober, error) {
	var conn *net.UDPConn
	err := to.do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: workload.STAMPPort})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the session-reflector: %w", err)
	}
	reflector, err := probe.NewReflector(conn, probe.ReflectorOptions{}, nil)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &prober{sender: probe.NewSender(probe.Options{}), stop: stop}
	p.running.Go(func() { _ = reflector.Serve(ctx) })
	if err := p.sender.Assign([]probe.Session{{ID: session, Protocol: workload.STAMP, Host: addr, Port: workload.STAMPPort}}); err != nil {
		stop()
		return nil, err
	}
	p.running.Go(func() { _ = from.do(func() error { return p.sender.Run(ctx) }) })
	return p, nil
}

// collect returns the samples since the last time, oldest first.
func (p *prober) collect() []sample {
	known, now := len(p.samples), time.Now()
	p.sender.Collect(func(r probe.Result) {
		for _, s := range r.Samples {
			p.samples = append(p.samples, sample{s, now})
		}
	})
	return p.samples[known:]
}

func (p *prober) close() {
	p.stop()
	p.running.Wait()
}

// delays are the round trips of everything collected, in milliseconds, sorted,
// and the share that was lost.
func (p *prober) delays() (ms []float64, lost float64) {
	for _, s := range p.samples {
		if s.Lost {
			lost++
			continue
		}
		ms = append(ms, float64(s.RTT)/float64(time.Millisecond))
	}
	slices.Sort(ms)
	return ms, lost / float64(max(1, len(p.samples)))
}
