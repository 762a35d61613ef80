package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/report"
	"github.com/detnet/detnet/sim/worlds"
)

type simulateOptions struct {
	scenarios []string
	laws      []string
	traces    []string
	seed      uint64
	seeds     int
	out       string
	list      bool
	all       bool
	config    string
	start     string
	target    time.Duration
	limiter   string
}

func newSimulateCommand() *cobra.Command {
	o := simulateOptions{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run the control laws side by side against simulated worlds and traces",
		Long: `Simulate runs the production control laws on a virtual clock: in worlds with
packet queues, TCP and UDP senders and noisy probes, and against given traces of
jitter. It writes SUMMARY.md, scores.csv, results.json, and of each world and trace
its series as CSV and its picture as SVG and PNG. The same seeds give the same report.`,
		Example: "  detnet simulate --out out/simulate\n  detnet simulate --scenario tcp-overload --law adaptive,aimd --seed 7\n  detnet simulate --trace measured.csv",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return simulate(cmd, o) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.scenarios, "scenario", nil, "worlds and built-in traces to run (default a dozen worlds of all kinds, and the traces)")
	f.BoolVar(&o.all, "all", false, "run all worlds: ten minutes of CPU time")
	f.StringSliceVar(&o.laws, "law", report.Names(), "laws to compare; bound, which is no law, is told all that is so at each moment")
	f.StringSliceVar(&o.traces, "trace", nil, "CSV files to run in place of the built-in scenarios: lines of seconds,jitter_ms in even steps, or what detnet probe -o csv wrote")
	f.StringVar(&o.start, "start", "", "limit that the sender of a trace begins with (default "+sim.TraceStart.String()+")")
	f.DurationVar(&o.target, "target", 0, "jitter target of the app of a trace (default 1ms)")
	f.StringVar(&o.config, "config", "", "configuration of a controller, whose constants the laws are to have")
	f.StringVar(&o.limiter, "limiter", string(plan.TokenBucket), "who holds senders to their limits in the worlds: tbf, the agent's token bucket, edt, Cilium's bandwidth manager before fq, or edt-host-routing, the same under its BPF host routing")
	f.Uint64Var(&o.seed, "seed", 1, "first seed")
	f.IntVar(&o.seeds, "seeds", 1, "how many seeds to run; the report has their median")
	f.StringVar(&o.out, "out", "out/simulate", "folder for the report")
	f.BoolVar(&o.list, "list", false, "list the scenarios and stop")
	return cmd
}

func simulate(cmd *cobra.Command, o simulateOptions) error {
	if o.list {
		return listScenarios(cmd.OutOrStdout())
	}
	suite, err := o.suite()
	if err != nil {
		return unusable{err}
	}
	if err := writable(o.out); err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent)
	progress, leave := progressBar(cmd.ErrOrStderr())
	results, err := suite.Run(cmd.Context(), progress)
	leave()
	if cmd.Context().Err() != nil {
		return errors.New("simulate: stopped before the end, nothing was written")
	}
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	if err := results.Write(o.out); err != nil {
		return err
	}
	if err := results.WriteSummary(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("print summary: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "report in %s\n", o.out)
	return nil
}

// gcPercent trades memory for time: a run makes much garbage and keeps little.
const gcPercent = 400

// writable says before minutes of work whether the report can be written.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for the report: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	probe.Close()
	return os.Remove(probe.Name())
}

func (o simulateOptions) suite() (report.Suite, error) {
	s := report.Suite{Laws: o.laws, Config: law.DefaultConfig()}
	known := append(report.Names(), report.BoundName)
	if len(o.laws) == 0 {
		return s, fmt.Errorf("--law: want at least one of %s", strings.Join(known, ", "))
	}
	for i, name := range o.laws {
		if !slices.Contains(known, name) {
			return s, fmt.Errorf("no law is named %q: want one of %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(o.laws[:i], name) {
			return s, fmt.Errorf("--law: %q is there twice", name)
		}
	}
	if o.seeds < 1 || o.seeds > maxSeeds {
		return s, fmt.Errorf("--seeds %d: want from 1 to %d", o.seeds, maxSeeds)
	}
	for i := range o.seeds {
		s.Seeds = append(s.Seeds, o.seed+uint64(i))
	}
	if err := o.configure(&s); err != nil {
		return s, err
	}
	if err := o.choose(&s); err != nil {
		return s, err
	}
	if !slices.Contains(sim.Limiters(), plan.Limiter(o.limiter)) {
		return s, fmt.Errorf("--limiter=%s must be tbf, edt or edt-host-routing", o.limiter)
	}
	for i := range s.Scenarios {
		s.Scenarios[i] = worlds.Limited(s.Scenarios[i], plan.Limiter(o.limiter))
	}
	if err := o.tune(s.Traces); err != nil {
		return s, err
	}
	for i, t := range s.Traces {
		if slices.ContainsFunc(s.Traces[:i], func(other sim.Trace) bool { return other.Name == t.Name }) {
			return s, fmt.Errorf("two traces are named %s, and so would be what is written of them: rename a file", t.Name)
		}
	}
	return s, nil
}

// configure takes over the constants of a controller's configuration.
func (o simulateOptions) configure(s *report.Suite) error {
	if o.config == "" {
		return nil
	}
	text, err := strict.ReadFile(o.config)
	if err != nil {
		return fmt.Errorf("read --config: %w", err)
	}
	c, err := config.Parse(text, config.Default())
	if err != nil {
		return fmt.Errorf("read --config %s: %w", o.config, err)
	}
	s.Config = c.Laws
	return nil
}

// tune gives traces their start and target.
func (o simulateOptions) tune(traces []sim.Trace) error {
	if o.target != 0 && (o.target < 10*time.Microsecond || o.target > 10*time.Second) {
		return fmt.Errorf("--target %v: want from 10µs to 10s", o.target)
	}
	var start bitrate.Rate
	if o.start != "" {
		var err error
		if start, err = bitrate.Parse(o.start); err != nil {
			return fmt.Errorf("--start: %w", err)
		}
	}
	for i := range traces {
		traces[i].Start, traces[i].Target = start, o.target
	}
	return nil
}

// maxSeeds is more than a median needs.
const maxSeeds = 1000

// choose adds the scenarios and traces.
func (o simulateOptions) choose(s *report.Suite) error {
	for _, path := range o.traces {
		t, err := readTrace(path)
		if err != nil {
			return err
		}
		s.Traces = append(s.Traces, t)
	}
	if o.all && len(o.scenarios)+len(o.traces) > 0 {
		return errors.New("--all: all worlds, and those of --scenario or --trace alone, exclude each other")
	}
	if len(o.scenarios) == 0 {
		if len(o.traces) == 0 {
			s.Scenarios, s.Traces = worlds.Some(), worlds.Traces()
			if o.all {
				s.Scenarios = worlds.All()
			}
		}
		return nil
	}
	for i, name := range o.scenarios {
		if slices.Contains(o.scenarios[:i], name) {
			return fmt.Errorf("--scenario: %q is there twice", name)
		}
		world, err := worlds.Named(name)
		if err != nil {
			return err
		}
		s.Scenarios = append(s.Scenarios, world)
		for _, t := range worlds.Traces() {
			if t.Name == name {
				s.Traces = append(s.Traces, t)
			}
		}
	}
	return nil
}

func readTrace(path string) (sim.Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return sim.Trace{}, fmt.Errorf("open trace: %w", err)
	}
	defer f.Close()
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return sim.ReadTrace(name, f)
}

func listScenarios(w io.Writer) error {
	for _, t := range worlds.Traces() {
		if _, err := fmt.Fprintf(w, "%-18s trace  %s\n", t.Name, t.About); err != nil {
			return err
		}
	}
	for _, s := range worlds.All() {
		if _, err := fmt.Fprintf(w, "%-18s world  %s\n", s.Name, s.About); err != nil {
			return err
		}
	}
	return nil
}

// progressBar draws on a terminal, and says a line a tenth elsewhere. Call leave
// when nothing more is to be shown, also before the end.
func progressBar(w io.Writer) (progress func(done, all int, what string), leave func()) {
	const width = 30
	terminal := false
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !terminal {
		said := -1
		return func(done, all int, what string) {
			all = max(all, 1)
			if tenth := done * 10 / all; tenth > said {
				said = tenth
				fmt.Fprintf(w, "%3d %% %s\n", done*100/all, what)
			}
		}, func() {}
	}
	progress = func(done, all int, what string) {
		all = max(all, 1)
		full := done * width / all
		fmt.Fprintf(w, "\r[%s%s] %d/%d %-36.36s", strings.Repeat("#", full), strings.Repeat(".", width-full), done, all, what)
	}
	return progress, func() { fmt.Fprintln(w) }
}
