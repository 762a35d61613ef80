// Command admission measures what detnet's webhook costs those who create pods,
// on a cluster of its own: the latency it adds at a constant rate, against a
// namespace it ignores in the same minutes, and how many creates fail while it
// rolls, rotates its certificate and reloads its policy. It prints tables and
// writes bench-admission.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/detnet/detnet/test/sandbox"
)

func main() {
	sandbox.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-admission:", err)
		os.Exit(1)
	}
}

// options say how much is measured.
type options struct {
	out     string
	rate    int           // creates a second
	slice   time.Duration // length of each slice
	dryRuns int           // pairs of slices of dry runs
	reals   int           // pairs of slices of pods that are kept
	creates int           // under each disturbance
	events  int           // disturbances of each sort that creates at least live through
	only    []string      // parts; all if empty
	values  map[string]string
}

// Parts of the benchmark; disturbances have parts of their own names.
const (
	partLatency  = "latency"
	partTogether = "together"
)

func (o options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }

func parseFlags() (options, error) {
	o := options{values: map[string]string{}}
	flag.StringVar(&o.out, "o", "../out", "folder for the figures")
	flag.IntVar(&o.rate, "rate", 100, "creates a second")
	flag.DurationVar(&o.slice, "slice", 5*time.Second, "length of a slice of one namespace")
	flag.IntVar(&o.dryRuns, "dry-runs", 10, "pairs of slices of dry-run creates")
	flag.IntVar(&o.reals, "reals", 6, "pairs of slices of creates that are kept")
	flag.IntVar(&o.creates, "creates", 10_000, "creates under each disturbance, and under all together")
	flag.IntVar(&o.events, "events", 5, "disturbances of each sort that they at least live through")
	only := flag.String("only", "", "comma-separated parts: latency, rollouts, rotations, reloads, together; all if empty")
	flag.Func("set", "another value of the chart, as name=value; may be repeated", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want name=value")
		}
		o.values[name] = value
		return nil
	})
	short := flag.Bool("short", false, "a tenth of everything, for a look on a busy machine")
	flag.Parse()
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, part := range o.only {
		if part != partLatency && part != partTogether && !slices.ContainsFunc(disturbances, func(d disturbance) bool { return d.name == part }) {
			return o, fmt.Errorf("-only: there is no part %q", part)
		}
	}
	if o.rate < 1 || o.slice < time.Second || o.dryRuns < 0 || o.reals < 0 || o.creates < 1 {
		return o, errors.New("want -rate and -creates of at least 1, and -slice of at least 1s")
	}
	if *short {
		o.dryRuns, o.reals, o.creates, o.events = 2, 1, o.creates/10, 1
	}
	return o, nil
}

func run(ctx context.Context) error {
	o, err := parseFlags()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	b, err := setUp(ctx, o.values)
	if err != nil {
		return err
	}
	defer func() {
		if err := b.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench-admission:", err)
		}
	}()
	r := newReport(o)
	if o.wants(partLatency) {
		if r.Latency, err = b.measureLatency(ctx, o); err != nil {
			return err
		}
		r.printLatency(os.Stdout)
	}
	if r.Failures, err = b.countFailures(ctx, o); err != nil {
		return err
	}
	r.printFailures(os.Stdout)
	if err := r.write(filepath.Join(o.out, "bench-admission.json")); err != nil {
		return err
	}
	return r.verdict()
}
