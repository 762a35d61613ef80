// Package config is the controller's configuration: one typed file, read
// strictly, with every error named by its path and what would be accepted. A
// file that is wrong at start stops the program; one that turns wrong later is
// reported, and the last good one stays.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/marks"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

// Config is the file. What it leaves out has the default.
type Config struct {
	// Mode says how far detnet may go in the whole cluster: enforce, observe
	// (measure, decide and report, write nothing) or off. A namespace may be
	// more cautious, by the annotation detnet.dev/mode.
	Mode workload.ControlMode `yaml:"mode"`
	// Law turns measurements into limits: adaptive, aimd or step.
	Law string `yaml:"law"`
	// Vantages is the number of nodes that measure each critical pod.
	Vantages int `yaml:"vantages"`
	// WritesPerSecond bounds the writes of limits for the whole cluster.
	WritesPerSecond float64 `yaml:"writesPerSecond"`
	// WriteBurst is how many of them may be at once after a quiet time.
	WriteBurst int `yaml:"writeBurst"`
	// RolloutEvery is for CNIs that read limits at pod creation only and where
	// no agent enforces: the least time between two changes of the templates
	// of Deployments, StatefulSets and DaemonSets, each of which replaces all
	// their pods. 0s leaves templates alone, and gives back what was changed,
	// which replaces the pods once more.
	RolloutEvery time.Duration `yaml:"rolloutEvery"`
	// Nodes says what nodes are marked with for the scheduler.
	Nodes marks.Config `yaml:"nodes"`
	// Prometheus measures critical pods that ask for it by the annotation
	// detnet.dev/probe.
	Prometheus promql.Config `yaml:"prometheus"`
	// Laws tunes the laws; the one in use is chosen by law.
	Laws law.Config `yaml:"laws"`
}

// Default is the configuration of an empty file.
func Default() Config {
	return Config{Mode: workload.Enforce, Law: law.Adaptive, Vantages: 2, WritesPerSecond: 20, WriteBurst: 100, Prometheus: promql.DefaultConfig(), Laws: law.DefaultConfig()}
}

// Bounds of the numbers.
const (
	maxVantages = 16
	minWrites   = 0.1
	maxWrites   = 1000
	minRollout  = 10 * time.Second
	maxRollout  = 24 * time.Hour
	minTaint    = 10 * time.Second
	maxTaint    = time.Hour
)

// Validate reports every value that is out of its range.
func (c Config) Validate() error {
	var errs []error
	if _, err := workload.ParseControlMode(string(c.Mode)); err != nil {
		errs = append(errs, fmt.Errorf("mode: %q must be enforce, observe or off", c.Mode))
	}
	if !slices.Contains(law.Names(), c.Law) {
		errs = append(errs, fmt.Errorf("law: %q must be %s", c.Law, strings.Join(law.Names(), ", ")))
	}
	if c.Vantages < 1 || c.Vantages > maxVantages {
		errs = append(errs, fmt.Errorf("vantages: %d must be from 1 to %d", c.Vantages, maxVantages))
	}
	if !(c.WritesPerSecond >= minWrites && c.WritesPerSecond <= maxWrites) {
		errs = append(errs, fmt.Errorf("writesPerSecond: %v must be from %v to %v", c.WritesPerSecond, minWrites, maxWrites))
	}
	if c.WriteBurst < 1 || c.WriteBurst > maxWrites {
		errs = append(errs, fmt.Errorf("writeBurst: %d must be from 1 to %v", c.WriteBurst, maxWrites))
	}
	if c.RolloutEvery != 0 && (c.RolloutEvery < minRollout || c.RolloutEvery > maxRollout) {
		errs = append(errs, fmt.Errorf("rolloutEvery: %v must be 0s or from %v to %v", c.RolloutEvery, minRollout, maxRollout))
	}
	if c.Nodes.TaintAfter != 0 && (c.Nodes.TaintAfter < minTaint || c.Nodes.TaintAfter > maxTaint) {
		errs = append(errs, fmt.Errorf("nodes.taintAfter: %v must be 0s or from %v to %v", c.Nodes.TaintAfter, minTaint, maxTaint))
	}
	for _, err := range split(c.Prometheus.Validate()) {
		errs = append(errs, fmt.Errorf("prometheus.%w", err))
	}
	for _, err := range split(c.Laws.Validate()) {
		errs = append(errs, fmt.Errorf("laws.%w", err))
	}
	return errors.Join(errs...)
}

// split undoes errors.Join, however nested.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, split(e)...)
	}
	return all
}

// Parse reads a file over base. The error names all that is wrong with it.
func Parse(text []byte, base Config) (Config, error) {
	c := base
	if errs := strict.Decode(text, &c); errs != nil {
		return Config{}, errors.Join(errs...)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	c.Laws.Adaptive.Limits.Writes = c.WritesPerSecond
	return c, nil
}

// With lays the original's constants, as far as they are given, over the laws
// that reproduce it.
func (c Config) With(given targets.Control) Config {
	aimd, step := &c.Laws.AIMD, &c.Laws.Step
	set(&aimd.Probe, given.Probe)
	set(&aimd.Interval, given.Interval)
	set(&step.Interval, given.Interval)
	set(&aimd.Window, given.Window)
	set(&aimd.Decrease, given.Decrease)
	set(&step.Decrease, given.StepDown)
	set(&aimd.Increase, given.StepUp)
	set(&step.Increase, given.StepUp)
	set(&step.Severity, given.Severity)
	set(&aimd.Min, given.Min)
	set(&step.Min, given.Min)
	set(&aimd.Max, given.Max)
	set(&step.Max, given.Max)
	return c
}

func set[T comparable](to *T, given T) {
	var none T
	if given != none {
		*to = given
	}
}
