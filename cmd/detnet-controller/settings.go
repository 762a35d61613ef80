package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

// load reads the configuration file, if there is one, over base and under the
// flags.
func load(o options, base config.Config) (*config.File, config.Config, error) {
	if o.config == "" {
		c, err := o.over(base)
		return nil, c, err
	}
	file, c, err := config.Open(o.config, base)
	if err != nil {
		return nil, config.Config{}, err
	}
	c, err = o.over(c)
	return file, c, err
}

// loadTargets reads the static targets, if there are any.
func loadTargets(o options, log *slog.Logger) (targets.Targets, error) {
	if o.staticTargets == "" {
		return targets.Targets{}, nil
	}
	text, err := os.ReadFile(o.staticTargets)
	if err != nil {
		return targets.Targets{}, fmt.Errorf("read static targets: %w", err)
	}
	t, err := targets.Parse(text)
	if err != nil {
		return t, fmt.Errorf("static targets %s: %w", o.staticTargets, err)
	}
	for _, what := range t.Ignored {
		log.Warn("static targets: ignored", "what", what)
	}
	return t, nil
}

// over lays the flags over a configuration.
func (o options) over(c config.Config) (config.Config, error) {
	c.Mode = workload.ControlMode(cmp.Or(o.mode, string(c.Mode)))
	c.Law = cmp.Or(o.law, c.Law)
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("flags: %w", err)
	}
	return c, nil
}

// settings hands a configuration to those who work by it.
type settings struct {
	inventory    *inventory.Inventory
	actuator     *actuate.Actuator
	loop         *controller.Loop
	rolloutEvery *atomic.Int64 // a time.Duration
}

func (s settings) apply(c config.Config) error {
	chosen, err := law.New(c.Law, c.Laws)
	if err != nil {
		return err
	}
	s.inventory.SetMode(c.Mode)
	s.actuator.SetBudget(c.WritesPerSecond)
	s.rolloutEvery.Store(int64(c.RolloutEvery))
	s.loop.Set(controller.Settings{Law: chosen, Mode: c.Mode, Vantages: c.Vantages})
	return nil
}

// follow applies the file as it changes; what can't be applied is reported and
// the last good configuration stays.
func (s settings) follow(file *config.File, o options, log *slog.Logger, reg prometheus.Registerer) everyReplica {
	valid := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "detnet_config_valid",
		Help: "1 if the configuration file as it is now is in use, 0 if the last good one is.",
	})
	reg.MustRegister(valid)
	valid.Set(1)
	return everyReplica{func(ctx context.Context) error {
		file.Follow(ctx, func(c config.Config, err error) {
			if err == nil {
				c, err = o.over(c)
			}
			if err == nil {
				err = s.apply(c)
			}
			if err != nil {
				valid.Set(0)
				log.Error("configuration refused, the last good one stays", "err", err)
				return
			}
			valid.Set(1)
			log.Info("configuration taken up", "mode", c.Mode, "law", c.Law)
		})
		return nil
	}}
}
