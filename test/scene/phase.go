package scene

import (
	"context"
	"fmt"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/traffic/load"
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

// SenderTick is what one sender got since the tick or the sample before, and its
// limit.
type SenderTick struct {
	Name    string
	Goodput bitrate.Rate
	Limit   bitrate.Rate // 0: none
}

// Sample is what the senders did in the short time since the sample before. The
// rate of several is that of their bytes over their time (Rate), not the mean of
// their rates: readings come late, and the next span is short then.
type Sample struct {
	At      time.Time
	Span    time.Duration // since the sample before
	Senders []SenderTick  // in the order of Senders
}

// A tick is told after so many samples.
const (
	sampleEvery    = 200 * time.Millisecond
	samplesPerTick = 5
	// shortest is the least span of a sample: below it, how exactly the moment of
	// reading is known would decide the rate.
	shortest = sampleEvery / 2
)

// Phase is one finished phase, ready to be summarised.
type Phase struct {
	Name       string
	Start, End time.Time // the load's, where there is one
	Loads      Loads
	Received   map[string]uint64
	Samples    []Sample
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
	p := Phase{Name: name, Start: time.Now(), Loads: bounded}
	if err := s.StartLoads(ctx, bounded); err != nil {
		return Phase{}, err
	}
	after, err := s.watch(ctx, &p, d, before, show)
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

// watch samples the senders and shows a tick each second until d is over, and
// returns the counters at its end.
func (s *Scene) watch(ctx context.Context, p *Phase, d time.Duration, received map[string]uint64, show func(Tick)) (map[string]uint64, error) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	sampled, ticked := p.Start, p.Start
	atTick := received
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		asked := time.Now()
		next, err := s.Received(ctx)
		if err != nil {
			return nil, err
		}
		// The counters are of some moment between question and answer.
		now := asked.Add(time.Since(asked) / 2)
		over := now.Sub(p.Start) >= d
		if span := now.Sub(sampled); span >= shortest {
			p.Samples = append(p.Samples, Sample{At: now, Span: span, Senders: s.senderTicks(received, next, span)})
			received, sampled = next, now
		}
		if due := over || n%samplesPerTick == 0; due && now.Sub(ticked) >= shortest {
			if err := s.tick(p.Name, now, ticked, atTick, next, now.Sub(p.Start), show); err != nil {
				return nil, err
			}
			atTick, ticked = next, now
		}
		if over {
			return next, nil
		}
	}
}

// tick shows what has been since the tick before.
func (s *Scene) tick(phase string, now, before time.Time, had, has map[string]uint64, elapsed time.Duration, show func(Tick)) error {
	apps, err := s.Recorded()
	if err != nil {
		return err
	}
	tick := Tick{Phase: phase, Elapsed: elapsed, Senders: s.senderTicks(had, has, now.Sub(before))}
	for _, app := range apps {
		tick.Apps = append(tick.Apps, record.Summarise(app, before, now))
	}
	show(tick)
	return nil
}

// Rate is what one sender got during the samples: bytes over time.
func Rate(samples []Sample, sender int) bitrate.Rate {
	var bits float64
	var span time.Duration
	for _, s := range samples {
		bits += float64(s.Senders[sender].Goodput) * s.Span.Seconds()
		span += s.Span
	}
	if span <= 0 {
		return 0
	}
	return bitrate.Rate(bits / span.Seconds())
}

// senderTicks is what each sender got through between two readings.
func (s *Scene) senderTicks(before, after map[string]uint64, span time.Duration) []SenderTick {
	ticks := make([]SenderTick, 0, len(Senders))
	for _, name := range Senders {
		ticks = append(ticks, SenderTick{Name: name, Limit: s.Limit(name), Goodput: Goodput(after[name]-before[name], span)})
	}
	return ticks
}

// Goodput is n payload bytes over d.
func Goodput(n uint64, d time.Duration) bitrate.Rate {
	return bitrate.Rate(float64(n) * 8 / d.Seconds())
}
