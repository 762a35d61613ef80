// Command demo shows detnet at work on a real cluster of three nodes: an idle
// network, then best-effort load without detnet, then the same load with it.
// It takes its variables from the environment; "make demo" says which.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/kernel"
)

// The phases of a run.
const (
	idle         = "idle"
	uncontrolled = "uncontrolled"
	controlled   = "controlled"
)

const idleDuration = 8 * time.Second

// stragglers is how long packets of a phase may still be answered, or given up.
const stragglers = 1200 * time.Millisecond

func main() {
	sandbox.Reexec()
	os.Exit(demo())
}

func demo() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseOptions(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 2
	}
	v := newViewer(o)
	r, err := perform(ctx, o, v)
	v.close()
	if ctx.Err() != nil {
		err = errors.New("interrupted; the cluster is down")
	}
	outcome := ""
	if err == nil {
		outcome, err = finish(r, "out")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return map[string]int{works: 0, fails: 1, void: 3}[outcome]
}

// finish prints the table, writes the figures and the picture, and returns the
// outcome. A void run draws no picture, and leaves none of another run.
func finish(r run, dir string) (string, error) {
	report := newReport(r)
	defer report.printVerdict(os.Stdout)
	report.print(os.Stdout)
	figures, drawing := filepath.Join(dir, "demo.json"), filepath.Join(dir, "demo.svg")
	if err := report.write(figures); err != nil {
		return "", fmt.Errorf("write the figures: %w", err)
	}
	if report.Outcome == void {
		if err := os.Remove(drawing); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("remove an older picture: %w", err)
		}
	} else if err := r.picture().Write(drawing); err != nil {
		return "", fmt.Errorf("write the picture: %w", err)
	} else {
		fmt.Printf("figures in %s, picture in %s\n", figures, drawing)
	}
	if r.kept != "" {
		fmt.Printf("\nthe cluster is left up, as KEEP asked; reach it with\n  export KUBECONFIG=%s\n  kubectl get pods -A\nand take it down with make sandbox-down NAME=demo\n", r.kept)
	}
	return report.Outcome, nil
}

func newViewer(o options) viewer {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return newScreen(o)
	}
	return plain{os.Stdout}
}

func perform(ctx context.Context, o options, v viewer) (r run, err error) {
	cluster, err := stage(ctx, o, v)
	if err != nil {
		return run{}, err
	}
	defer func() {
		if o.keep && err == nil {
			r.kept = cluster.Kubeconfig()
			return
		}
		v.tell("taking the cluster down")
		err = errors.Join(err, cluster.Close())
	}()
	s, err := scene.Deploy(ctx, cluster, install.Tag, o.capacity)
	if err != nil {
		return run{}, err
	}
	defer s.Close()
	return play(ctx, cluster, s, o, v)
}

// stage builds what is missing and brings the cluster up.
func stage(ctx context.Context, o options, v viewer) (*sandbox.Cluster, error) {
	v.tell("building images")
	images, err := install.BuildImages(ctx)
	if err != nil {
		return nil, err
	}
	v.tell("bringing up three nodes (the first time this builds Kubernetes, about 20 minutes)")
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "demo", Nodes: 3, Images: images, Log: logTo(v), Detached: o.keep})
	if err != nil {
		return nil, err
	}
	return cluster, nil
}

// logTo makes a logger whose lines the viewer tells.
func logTo(v viewer) *slog.Logger {
	return slog.New(slog.NewTextHandler(teller{v}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type teller struct{ viewer }

// Write implements io.Writer; slog's handlers write a line at a time.
func (t teller) Write(line []byte) (int, error) {
	t.tell("%s", bytes.TrimRight(line, "\n"))
	return len(line), nil
}

// play runs the three phases and computes the report.
func play(ctx context.Context, cluster *sandbox.Cluster, s *scene.Scene, o options, v viewer) (run, error) {
	r := run{options: o}
	phase := func(name string, d time.Duration, loads scene.Loads) error {
		p, err := s.Run(ctx, name, d, loads, v.tick)
		if err != nil {
			return fmt.Errorf("phase %s: %w", name, err)
		}
		r.phases = append(r.phases, p)
		return pause(ctx, stragglers)
	}
	loads, err := scene.NamedLoads(o.load, o.capacity, o.duration+time.Minute)
	if err != nil {
		return run{}, err
	}
	v.tell("\n%v uplink, %s load", o.capacity, o.load)
	if err := phase(idle, idleDuration, nil); err != nil {
		return run{}, err
	}
	if r.apps, err = s.Recorded(); err != nil {
		return run{}, err
	}
	if newReport(r).Verdict != "" {
		return r, nil // no load shows anything on a machine that is late without
	}
	if err := phase(uncontrolled, o.duration, loads); err != nil {
		return run{}, err
	}
	v.tell("installing detnet with helm, law %s", o.law)
	if err := install.Detnet(ctx, cluster, map[string]string{"controller.law": o.law}); err != nil {
		return run{}, err
	}
	v.tell("recreating the workloads, so that they are admitted by detnet")
	if err := s.Recreate(ctx); err != nil {
		return run{}, err
	}
	if err := install.AwaitMeasured(ctx, cluster, 2, 2); err != nil {
		return run{}, err
	}
	limited, err := kernel.Watch(ctx, cluster)
	if err != nil {
		return run{}, err
	}
	err = phase(controlled, o.duration, loads)
	limits, lost := limited()
	if err := cmp.Or(err, lost); err != nil {
		return run{}, err
	}
	r.limits = limits
	r.apps, err = s.Recorded()
	return r, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
