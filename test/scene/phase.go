package scene

import (
	"context"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/workload/load"
)

// Loads is what each sender does in a phase; none in an idle one.
type Loads map[string]load.Load

// NamedLoads returns one of the demo's loads: "tcp" (both senders elastic),
// "udp" (both inelastic, together 1.5 × capacity) or "bursty" (one elastic
// that comes and goes, one inelastic and steady at 0.75 × capacity).
func NamedLoads(name string, capacity bitrate.Rate, d time.Duration) (Loads, error) {
	elastic := load.Load{Kind: load.TCP, Conns: 4, For: d}
	inelastic := load.Load{Kind: load.UDP, Rate: capacity * 3 / 4, For: d}
	bursty := elastic
	bursty.On, bursty.Off = 3*time.Second, 2*time.Second
	erp, telemetry := Senders[0], Senders[1]
	switch name {
	case "tcp":
		return Loads{erp: elastic, telemetry: elastic}, nil
	case "udp":
		return Loads{erp: inelastic, telemetry: inelastic}, nil
	case "bursty":
		return Loads{erp: inelastic, telemetry: bursty}, nil
	}
	return nil, fmt.Errorf("load %q: must be tcp, udp or bursty", name)
}

// Tick is what a viewer is told each second of a phase.
type Tick struct {
	Phase   string
	Elapsed time.Duration // of the phase
	Apps    []record.Critical
	Senders []SenderTick
}

// SenderTick is one sender's last second.
type SenderTick struct {
	Name    string
	Goodput bitrate.Rate
	Limit   bitrate.Rate // 0: none
}

// Phase is one finished phase, ready to be summarised.
type Phase struct {
	Name       string
	Start, End time.Time // the load's, where there is one
	Received   map[string]uint64
	Changes    []record.LimitChange
	Restarts   int
}

// overrun is how long loads outlive their phase, so that its last second is full.
const overrun = 500 * time.Millisecond

// Run plays one phase: loads for d, telling each second to show. The loads end
// within a second after it.
func (s *Scene) Run(ctx context.Context, name string, d time.Duration, loads Loads, show func(Tick)) (Phase, error) {
	before, err := s.Received(ctx)
	if err != nil {
		return Phase{}, err
	}
	_, restartsBefore := s.Changes(time.Now())
	// The loads end by themselves: on a flooded host they may be hard to reach.
	bounded := Loads{}
	for name, l := range loads {
		l.For = d + overrun
		bounded[name] = l
	}
	p := Phase{Name: name, Start: time.Now()}
	if err := s.StartLoads(ctx, bounded); err != nil {
		return Phase{}, err
	}
	after, err := s.watch(ctx, p, d, before, show)
	if err != nil {
		return Phase{}, err
	}
	p.End = time.Now()
	p.Received = map[string]uint64{}
	for sender, n := range after {
		p.Received[sender] = n - before[sender]
	}
	changes, restarts := s.Changes(p.Start)
	p.Changes, p.Restarts = changes, restarts-restartsBefore
	return p, nil
}

// watch shows a tick each second until d is over, and returns the counters at
// its end.
func (s *Scene) watch(ctx context.Context, p Phase, d time.Duration, received map[string]uint64, show func(Tick)) (map[string]uint64, error) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for last := p.Start; ; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		now := time.Now()
		next, err := s.Received(ctx)
		if err != nil {
			return nil, err
		}
		apps, err := s.Recorded()
		if err != nil {
			return nil, err
		}
		tick := Tick{Phase: p.Name, Elapsed: now.Sub(p.Start)}
		for _, app := range apps {
			tick.Apps = append(tick.Apps, record.Summarise(app, last, now))
		}
		for _, name := range Senders {
			tick.Senders = append(tick.Senders, SenderTick{
				Name: name, Limit: s.Limit(name),
				Goodput: Goodput(next[name]-received[name], now.Sub(last)),
			})
		}
		show(tick)
		received, last = next, now
		if now.Sub(p.Start) >= d {
			return received, nil
		}
	}
}

// Goodput is n payload bytes over d.
func Goodput(n uint64, d time.Duration) bitrate.Rate {
	return bitrate.Rate(float64(n) * 8 / d.Seconds())
}
