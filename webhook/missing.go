package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MissingPriorityClasses tells when the policy names a PriorityClass that the
// cluster lacks: pods of that class keep the priority that they have.
type MissingPriorityClasses struct {
	// Named are those that the policy in force names.
	Named   func() []string
	Cluster Cluster
	// Tell is called when others are missing than before.
	Tell func(error)
	Log  *slog.Logger

	count prometheus.Gauge
}

// Register registers how many are missing.
func (m *MissingPriorityClasses) Register(registerer prometheus.Registerer) *MissingPriorityClasses {
	m.count = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "detnet_policy_missing_priority_classes",
		Help: "PriorityClasses that the policy in force names and the cluster lacks.",
	})
	registerer.MustRegister(m.count)
	return m
}

// Run looks now and every half minute, since the policy changes and the cluster
// does, until ctx ends.
func (m *MissingPriorityClasses) Run(ctx context.Context) error {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	var told []string
	for {
		missing, err := m.look(ctx)
		if err == nil && !slices.Equal(missing, told) {
			if told = missing; len(missing) > 0 {
				err := fmt.Errorf("the cluster has no PriorityClass %s, which classes of the policy name: their pods keep the priority that they have; make it, or take priorityClassName out of the class", strings.Join(missing, ", "))
				m.Log.WarnContext(ctx, "the policy names what the cluster lacks", "err", err)
				m.Tell(err)
			} else {
				m.Log.InfoContext(ctx, "the cluster has all PriorityClasses that the policy names")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look returns those that are missing, sorted.
func (m *MissingPriorityClasses) look(ctx context.Context) ([]string, error) {
	var missing []string
	for _, name := range m.Named() {
		p, err := m.Cluster.Priorities(ctx, name)
		if err != nil {
			return nil, err // the cache is not filled yet, or ctx has ended
		}
		if p.Wanted == nil {
			missing = append(missing, name)
		}
	}
	m.count.Set(float64(len(missing)))
	return missing, nil
}
