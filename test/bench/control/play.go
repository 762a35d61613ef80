package main

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/sim/score"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/picture"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/traffic/load"
)

// play is all that was seen of a contender in a world.
type play struct {
	phase  scene.Phase
	apps   []record.App
	shifts []picture.Shift // of capacity, when they happened
	tail   []scene.Sample  // after the load
}

const (
	// stragglers is how long the last probes may take to come back.
	stragglers = 1200 * time.Millisecond
	// tailLength is how long limits are watched after the load.
	tailLength = 8 * time.Second
	tailEvery  = 200 * time.Millisecond
)

// perform runs a world's loads and shifts once, and waits for the last probes.
func (b *bench) perform(ctx context.Context, name string, w world, d time.Duration) (play, error) {
	var p play
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		p.shifts, err = b.shift(inner, w.shifts, d)
		return err
	})
	g.Go(func() (err error) {
		p.phase, err = b.scene.Run(inner, name, d, w.loads(capacity, d+time.Minute), func(scene.Tick) {})
		return err
	})
	err := g.Wait()
	if err == nil && w.tail {
		p.tail, err = b.watch(ctx, tailLength)
	}
	if err == nil {
		err = wait(ctx, stragglers)
	}
	if err != nil {
		return play{}, err
	}
	p.apps, err = b.scene.Recorded()
	return p, err
}

// shift changes the capacity of the bottleneck at its times.
func (b *bench) shift(ctx context.Context, shifts []shift, d time.Duration) (made []picture.Shift, err error) {
	start := time.Now()
	for _, s := range shifts {
		if err := wait(ctx, time.Until(start.Add(time.Duration(s.at*float64(d))))); err != nil {
			return nil, err
		}
		to := bitrate.FromMbit(s.to * capacity.Mbit())
		if err := b.scene.SetCapacity(ctx, to); err != nil {
			return nil, err
		}
		made = append(made, picture.Shift{At: time.Now(), To: to})
	}
	return made, nil
}

// watch samples the limits alone.
func (b *bench) watch(ctx context.Context, d time.Duration) (samples []scene.Sample, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		s := scene.Sample{At: time.Now()}
		for _, name := range scene.Senders {
			s.Senders = append(s.Senders, scene.SenderTick{Name: name, Limit: b.scene.Limit(name)})
		}
		samples = append(samples, s)
		if err := wait(ctx, tailEvery); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// draw adds the play to a picture.
func (p play) draw(r *picture.Run) {
	r.Phases = append(r.Phases, p.phase)
	r.Shifts = append(r.Shifts, p.shifts...)
	for i, app := range p.apps {
		if i == len(r.Apps) {
			r.Apps = append(r.Apps, record.App{Name: app.Name, Target: app.Target})
		}
		r.Apps[i].Packets = append(r.Apps[i].Packets, app.Packets...)
	}
}

// run is the play as figures are computed of it: its time counts from the
// load's start, and probes count until its end.
func (p play) run() score.Run {
	length := p.since(p.phase.End)
	r := score.Run{End: length, Until: length, Probes: record.Probes(p.apps, p.phase.Start, p.phase.End)}
	for _, name := range scene.Senders {
		r.Senders = append(r.Senders, score.Sender{Greedy: p.phase.Loads[name].Kind == load.TCP})
	}
	for _, c := range p.phase.Changes {
		r.Writes = append(r.Writes, p.since(c.At))
	}
	var before time.Duration
	for _, s := range slices.Concat(p.phase.Samples, p.tail) {
		r.Points = append(r.Points, p.point(s, before))
		before = p.since(s.At)
	}
	r.Freed = p.freed(length)
	return r
}

func (p play) since(at time.Time) time.Duration { return at.Sub(p.phase.Start) }

// point is a sample and what the senders wanted in it, as their loads have it.
// Where one came or went within the sample, and where what waited at its limit
// still comes, it wanted what it got.
func (p play) point(s scene.Sample, before time.Duration) score.Point {
	point := score.Point{At: p.since(s.At), Room: p.room(s.At)}
	for _, sender := range s.Senders {
		point.Limits = append(point.Limits, sender.Limit)
		point.Goodput = append(point.Goodput, sender.Goodput)
		l := p.phase.Loads[sender.Name]
		var offered, waiting bitrate.Rate
		switch {
		case !l.Active(before) || !l.Active(point.At) || point.At > p.since(p.phase.End):
			waiting = sender.Goodput
		case l.Kind == load.TCP:
			offered = capacity
		default:
			offered = l.Rate
		}
		point.Offered, point.Waiting = append(point.Offered, offered), append(point.Waiting, waiting)
	}
	return point
}

// room is the bottleneck's capacity at a time.
func (p play) room(at time.Time) bitrate.Rate {
	room := capacity
	for _, s := range p.shifts {
		if !s.At.After(at) {
			room = s.To
		}
	}
	return room
}

// freed is where capacity came back, and where the load had ended.
func (p play) freed(length time.Duration) (spans []score.Span) {
	for i, s := range p.shifts {
		if i > 0 && s.To > p.shifts[i-1].To {
			spans = append(spans, score.Span{From: p.since(s.At), To: length})
		}
	}
	if len(p.tail) > 0 {
		spans = append(spans, score.Span{From: length, To: length + tailLength + tailEvery})
	}
	return spans
}

// settled is the share of late probes from a time after the onset on.
func (p play) settled(from time.Duration) float64 {
	r := p.run()
	r.Onset = from
	return score.Of(r).Violation
}
