package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/kernel"
)

// onsets are some of one load, each met by a controller that knows nothing of the link,
// with limits of 1G.
type onsets struct {
	load    string
	cut     []time.Duration // first cuts, of those that were cut
	clean   []time.Duration // of those that became clean
	late    []float64       // shares of the packets since the load began, of all services
	goodput []bitrate.Rate
}

// onsetLength is how long each load lasts unless -duration says otherwise.
const onsetLength = 5 * time.Second

// idleLength is how long the network is watched without a load before: what is late then is
// the machine's doing.
const idleLength = 20 * time.Second

// playOnsets lets adaptive meet n onsets of each load in turn.
func (b *bench) playOnsets(ctx context.Context, n int, d time.Duration) error {
	c := contenders[slices.IndexFunc(contenders, func(c contender) bool { return c.name == adaptive })]
	if err := b.install(ctx, c); err != nil {
		return err
	}
	idle, err := b.onset(ctx, c, world{name: "idle", loads: func(bitrate.Rate, time.Duration) scene.Loads { return nil }}, max(d, idleLength), "")
	if err != nil {
		return err
	}
	all := []onsets{{load: "tcp"}, {load: "udp"}}
	for i := range n {
		for k := range all {
			o := &all[k]
			s, err := b.onset(ctx, c, world{name: o.load, loads: named(o.load)}, d, fmt.Sprintf("onset-%s-%d", o.load, i+1))
			if err != nil {
				return fmt.Errorf("onset %d of %s: %w", i+1, o.load, err)
			}
			o.add(s)
			fmt.Printf("%s  %-3s first cut %v (written %v), clean %v, %.2f %% late, %.1f Mbit/s\n", time.Now().Format(time.TimeOnly), o.load,
				seconds(s.InForce), seconds(s.FirstCut), seconds(s.Clean), 100*s.Violation, s.Goodput.Mbit())
		}
	}
	tableOfOnsets(os.Stdout, idle.Violation, all)
	return nil
}

// onset is one, of which a recording is kept under a name.
func (b *bench) onset(ctx context.Context, c contender, w world, d time.Duration, keptAs string) (onset, error) {
	if err := b.reset(ctx, c); err != nil {
		return onset{}, err
	}
	limited, err := kernel.Watch(ctx, b.cluster)
	if err != nil {
		return onset{}, err
	}
	p, err := b.perform(ctx, w.name, w, d)
	limits, lost := limited()
	if err := cmp.Or(err, lost); err != nil {
		return onset{}, err
	}
	o := onset{newScore(c, w, p), -1}
	if d, ok := kernel.FirstBelow(limits, p.phase.Start, capacity/2); ok {
		o.InForce = d
	}
	if keptAs == "" {
		return o, nil
	}
	return o, b.saveRecording(ctx, keptAs, c.name)
}

// onset is what came of one.
type onset struct {
	Score
	// InForce is the first cut: when the kernel was told to keep a sender to less than its half
	// of the link; -1: never. FirstCut is when a client of the API server hears of it.
	InForce time.Duration
}

func (o *onsets) add(s onset) {
	if s.InForce >= 0 {
		o.cut = append(o.cut, s.InForce)
	}
	if s.Clean >= 0 {
		o.clean = append(o.clean, s.Clean)
	}
	o.late, o.goodput = append(o.late, s.Violation), append(o.goodput, s.Goodput)
}

// tableOfOnsets prints each load's, and those of both.
func tableOfOnsets(w io.Writer, idle float64, all []onsets) {
	both := onsets{load: "both"}
	for _, o := range all {
		both.cut, both.clean = append(both.cut, o.cut...), append(both.clean, o.clean...)
		both.late, both.goodput = append(both.late, o.late...), append(both.goodput, o.goodput...)
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "\nload\tonsets\tcut\tfirst cut p50\tp90\tclean\tclean p50\tp90\tlate p50\tworst\tgoodput p50\tleast\n")
	for _, o := range append(all, both) {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%v\t%v\t%d\t%v\t%v\t%.2f %%\t%.2f %%\t%.1f Mbit/s\t%.1f Mbit/s\n", o.load, len(o.late),
			len(o.cut), seconds(at(o.cut, 0.5)), seconds(at(o.cut, 0.9)), len(o.clean), seconds(at(o.clean, 0.5)), seconds(at(o.clean, 0.9)),
			100*at(o.late, 0.5), 100*at(o.late, 1), at(o.goodput, 0.5).Mbit(), slices.Min(o.goodput).Mbit())
	}
	_ = tab.Flush()
	fmt.Fprintf(w, "without a load %.2f %% are late\n", 100*idle)
}

// at is a quantile; 0 of none.
func at[T int64 | float64 | time.Duration | bitrate.Rate](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	return quantile.Of(slices.Sorted(slices.Values(values)), q)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
