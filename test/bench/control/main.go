// Command control judges the control laws on real queues: every contender goes
// through every world on one cluster, in one run. It prints tables and writes
// bench-control.json and a picture of each world.
package main

import (
	"cmp"
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
	out := flag.String("o", "../out", "folder for figures, pictures and recordings")
	d := flag.Duration("duration", 0, "length of each run; each world's own, a minute or more, if 0")
	inWorlds := flag.String("worlds", "", "comma-separated; all if empty")
	by := flag.String("contenders", "", "comma-separated; all if empty")
	met := flag.Int("onsets", 0, "so many onsets of each of tcp and udp, for adaptive alone, in place of contenders in worlds")
	flag.Parse()
	ws, err := chosen(worlds, list(*inWorlds), func(w world) string { return w.name })
	if err != nil {
		return fmt.Errorf("-worlds: %w", err)
	}
	cs, err := chosen(contenders, list(*by), func(c contender) string { return c.name })
	if err != nil {
		return fmt.Errorf("-contenders: %w", err)
	}
	if *d > 0 {
		for i := range ws {
			ws[i].length = *d
		}
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	b, err := setUp(ctx, *out)
	if err != nil {
		return err
	}
	defer b.close()
	if *met > 0 {
		return b.playOnsets(ctx, *met, cmp.Or(*d, onsetLength))
	}
	undo, err := first()
	if err != nil {
		return err
	}
	defer func() {
		if err := undo(); err != nil {
			fmt.Fprintln(os.Stderr, "bench-control:", err)
		}
	}()
	for _, c := range cs {
		if err := b.compete(ctx, c, ws); err != nil {
			// What was measured before is not lost.
			return errors.Join(fmt.Errorf("%s: %w", c.name, err), b.finish(ws))
		}
	}
	return b.finish(ws)
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// bench is a cluster with the scene on it, and what came out so far.
type bench struct {
	cluster *sandbox.Cluster
	scene   *scene.Scene
	runs    map[string]*picture.Run // by world
	scores  []Score
	out     string // folder for figures, pictures and recordings
}

func setUp(ctx context.Context, out string) (*bench, error) {
	images, err := install.BuildImages(ctx)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "bench", Images: images, Log: log})
	if err != nil {
		return nil, err
	}
	b := &bench{cluster: cluster, runs: map[string]*picture.Run{}, out: out}
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
func (b *bench) compete(ctx context.Context, c contender, ws []world) error {
	if err := b.install(ctx, c); err != nil {
		return err
	}
	for _, w := range ws {
		if !c.plays(w) {
			continue
		}
		if err := b.reset(ctx, c); err != nil {
			return err
		}
		if err := b.compare(ctx, c, w); err != nil {
			return fmt.Errorf("world %s: %w", w.name, err)
		}
		if c.law {
			if err := b.saveRecording(ctx, w.name, c.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// install has the cluster controlled by a contender.
func (b *bench) install(ctx context.Context, c contender) error {
	values := map[string]string{"controller.mode": "off"}
	if c.law {
		values = map[string]string{"controller.mode": "enforce", "controller.law": c.name}
	}
	return install.Detnet(ctx, b.cluster, values)
}

// lead is how long the network is left idle before the onset: the least round
// trip, from which delay variation counts, is seen then.
const lead = 3 * time.Second

// reset begins anew: nobody profits from what was learnt in the world before.
func (b *bench) reset(ctx context.Context, c contender) error {
	if err := b.scene.Recreate(ctx); err != nil {
		return err
	}
	b.scene.Forget()
	// New pods inherit the limits of those they replace.
	if err := b.scene.SetLimits(ctx, c.start); err != nil {
		return err
	}
	if c.law {
		for _, args := range [][]string{{"rollout", "restart"}, {"rollout", "status", "--timeout=1m"}} {
			args = append(args, "--namespace", install.Namespace, "deployment/detnet-controller")
			if _, err := b.cluster.Kubectl(ctx, args...); err != nil {
				return fmt.Errorf("restart the controller: %w", err)
			}
		}
		if err := install.AwaitMeasured(ctx, b.cluster, 2, len(scene.Senders)); err != nil {
			return err
		}
		// It may have raised them since.
		if err := b.scene.SetLimits(ctx, c.start); err != nil {
			return err
		}
	}
	return wait(ctx, lead)
}

// compare lets a contender play a world, and keeps what came out.
func (b *bench) compare(ctx context.Context, c contender, w world) error {
	var p play
	var limits []bitrate.Rate
	var err error
	if c.name == oracle || c.name == uneven {
		p, limits, err = b.bestStatic(ctx, c, w)
	} else {
		w.tail = w.tail && c.law // nobody else changes a limit
		p, err = b.perform(ctx, c.name, w, c.length(w))
	}
	if err != nil {
		return err
	}
	s := newScore(c, w, p)
	s.Limits = limits
	b.scores = append(b.scores, s)
	if b.runs[w.name] == nil {
		b.runs[w.name] = &picture.Run{Capacity: capacity}
	}
	p.draw(b.runs[w.name])
	fmt.Printf("%s  %-8s %-9s %5.1f %% in violation, %6.1f Mbit/s\n", time.Now().Format(time.TimeOnly), w.name, c.name, 100*s.Violation, s.Goodput.Mbit())
	return nil
}

func (b *bench) finish(ws []world) error {
	relate(b.scores)
	var ordered []Score
	for _, w := range ws {
		for _, s := range b.scores {
			if s.World == w.name {
				ordered = append(ordered, s)
			}
		}
		if r := b.runs[w.name]; r != nil {
			if err := r.Write(filepath.Join(b.out, "bench-control-"+w.name+".svg")); err != nil {
				return fmt.Errorf("draw world %s: %w", w.name, err)
			}
		}
	}
	verdicts := judge(ordered)
	table(os.Stdout, ordered)
	tableOfBars(os.Stdout, verdicts)
	return write(filepath.Join(b.out, "bench-control.json"), ordered, verdicts)
}
