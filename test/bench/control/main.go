// Command control judges the control laws on real queues: every contender goes
// through every world on one cluster, in one run. It prints a table and writes
// bench-control.json and a picture of each world.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/picture"
)

func main() {
	sandbox.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-control:", err)
		os.Exit(1)
	}
}

const capacity = 200 * bitrate.Mbit

func run(ctx context.Context) error {
	out := flag.String("o", "../out", "folder for figures and pictures")
	d := flag.Duration("duration", 30*time.Second, "length of each run")
	inWorlds := flag.String("worlds", "", "comma-separated; all if empty")
	by := flag.String("contenders", "", "comma-separated; all if empty")
	flag.Parse()
	ws, err := chosen(worlds, list(*inWorlds), func(w world) string { return w.name })
	if err != nil {
		return fmt.Errorf("-worlds: %w", err)
	}
	cs, err := chosen(contenders, list(*by), func(c string) string { return c })
	if err != nil {
		return fmt.Errorf("-contenders: %w", err)
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	b, err := setUp(ctx, *d)
	if err != nil {
		return err
	}
	defer b.close()
	for _, c := range cs {
		if err := b.compete(ctx, c, ws); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return b.finish(*out, ws)
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// bench is a cluster with the scene on it, and what came out so far.
type bench struct {
	cluster  *sandbox.Cluster
	scene    *scene.Scene
	duration time.Duration
	runs     map[string]*picture.Run // by world
	scores   []Score
}

func setUp(ctx context.Context, d time.Duration) (*bench, error) {
	images, err := install.BuildImages(ctx)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "bench", Images: images, Log: log})
	if err != nil {
		return nil, err
	}
	b := &bench{cluster: cluster, duration: d, runs: map[string]*picture.Run{}}
	if err := install.Detnet(ctx, cluster, nil); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	if b.scene, err = scene.Deploy(ctx, cluster, install.Tag, capacity); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	return b, nil
}

func (b *bench) close() {
	b.scene.Close()
	if err := b.cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "bench-control:", err)
	}
}

// compete takes one contender through the worlds.
func (b *bench) compete(ctx context.Context, contender string, ws []world) error {
	values := map[string]string{"controller.mode": "enforce", "controller.law": contender}
	if contender == nothing || contender == oracle {
		values = map[string]string{"controller.mode": "off"}
	}
	if err := install.Detnet(ctx, b.cluster, values); err != nil {
		return err
	}
	for _, w := range ws {
		if err := b.reset(ctx, values["controller.mode"] == "enforce"); err != nil {
			return err
		}
		if err := b.play(ctx, contender, w); err != nil {
			return fmt.Errorf("world %s: %w", w.name, err)
		}
	}
	return nil
}

// reset begins anew: nobody profits from what was learnt in the world before.
func (b *bench) reset(ctx context.Context, controlled bool) error {
	if err := b.scene.Recreate(ctx); err != nil {
		return err
	}
	// New pods inherit the limits of those they replace: lift them.
	if err := b.scene.SetLimits(ctx, bitrate.Gbit); err != nil {
		return err
	}
	if !controlled {
		return nil
	}
	for _, args := range [][]string{{"rollout", "restart"}, {"rollout", "status", "--timeout=1m"}} {
		args = append(args, "--namespace", install.Namespace, "deployment/detnet-controller")
		if _, err := b.cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("restart the controller: %w", err)
		}
	}
	return install.AwaitMeasured(ctx, b.cluster, 2, len(scene.Senders))
}

func (b *bench) play(ctx context.Context, contender string, w world) error {
	var limit bitrate.Rate
	if contender == oracle {
		var err error
		if limit, err = b.bestStatic(ctx, w); err != nil {
			return err
		}
	}
	r := b.runs[w.name]
	if r == nil {
		r = &picture.Run{Capacity: capacity}
		b.runs[w.name] = r
	}
	p, err := b.phase(ctx, contender, w, b.duration, func(t scene.Tick) { r.Ticks = append(r.Ticks, t) })
	if err != nil {
		return err
	}
	apps, err := b.scene.Recorded()
	if err != nil {
		return err
	}
	r.Phases, r.Apps = append(r.Phases, p), apps
	s := newScore(w.name, contender, p, apps)
	s.Limit = limit
	b.scores = append(b.scores, s)
	fmt.Printf("%-8s %-9s %5.1f %% in violation, %6.1f Mbit/s\n", w.name, contender, 100*s.Violation, s.Goodput.Mbit())
	return nil
}

// phase runs a world's loads and events once, and waits for the last probes.
func (b *bench) phase(ctx context.Context, name string, w world, d time.Duration, show func(scene.Tick)) (p scene.Phase, err error) {
	g, inner := errgroup.WithContext(ctx)
	if w.events != nil {
		g.Go(func() error { return w.events(inner, b.scene, capacity, d) })
	}
	g.Go(func() (err error) {
		p, err = b.scene.Run(inner, name, d, w.loads(capacity, d+time.Minute), show)
		return err
	})
	if err := g.Wait(); err != nil {
		return p, err
	}
	const stragglers = 1200 * time.Millisecond
	select {
	case <-ctx.Done():
		return p, ctx.Err()
	case <-time.After(stragglers):
	}
	return p, nil
}

// The oracle tries these shares of the least capacity, the largest first, and
// keeps the first under which at most oracleViolation of the probes are late.
var oracleShares = []float64{0.98, 0.96, 0.94, 0.92, 0.90, 0.87, 0.84, 0.80}

const (
	oracleViolation = 0.01
	oracleTrial     = 6 * time.Second
)

func (b *bench) bestStatic(ctx context.Context, w world) (bitrate.Rate, error) {
	if w.elsewhere {
		return bitrate.Gbit, b.scene.SetLimits(ctx, bitrate.Gbit) // nothing helps, so nothing is taken
	}
	steady := w
	steady.events = nil
	var limit bitrate.Rate
	for _, share := range oracleShares {
		limit = bitrate.FromMbit(share * capacity.Mbit() / float64(len(scene.Senders))).Quantise()
		if err := b.scene.SetLimits(ctx, limit); err != nil {
			return 0, err
		}
		p, err := b.phase(ctx, "trial", steady, oracleTrial, func(scene.Tick) {})
		if err != nil {
			return 0, err
		}
		apps, err := b.scene.Recorded()
		if err != nil {
			return 0, err
		}
		if violation(apps, p.Start.Add(time.Second), p.End) <= oracleViolation {
			break
		}
	}
	limit = bitrate.FromMbit(w.least * limit.Mbit()).Quantise()
	return limit, b.scene.SetLimits(ctx, limit)
}

func (b *bench) finish(dir string, ws []world) error {
	compare(b.scores)
	var ordered []Score
	for _, w := range ws {
		for _, s := range b.scores {
			if s.World == w.name {
				ordered = append(ordered, s)
			}
		}
		if err := b.runs[w.name].Write(filepath.Join(dir, "bench-control-"+w.name+".svg")); err != nil {
			return fmt.Errorf("draw world %s: %w", w.name, err)
		}
	}
	table(os.Stdout, ordered)
	return write(filepath.Join(dir, "bench-control.json"), capacity, ordered)
}
