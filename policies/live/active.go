// Package live keeps the policy in force while admissions go on: it follows a
// directory or a signed bundle, takes a new set only if it compiles, passes its
// tests and copes with the pods seen lately, and can try a candidate beside it.
package live

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/policies"
)

// Active is the engine in force. Replacing it never disturbs a decision in
// flight.
type Active struct {
	mu      sync.RWMutex
	engine  *policies.Engine
	since   time.Time
	failed  error  // the last reload's, nil if it took effect
	instead string // what is in force in the place of the site's policy, "" if that is

	recent recent
	shadow *Shadow // nil: none

	info    *prometheus.GaugeVec
	reloads *prometheus.CounterVec
	broken  prometheus.Gauge
	standIn *prometheus.GaugeVec
}

// Status is what a replica says about its policy.
type Status struct {
	Hash      string    `json:"hash"`
	Since     time.Time `json:"since"`
	LastError string    `json:"lastError,omitempty"`
	Files     []string  `json:"files"`
	// Instead says what is in force because the site's policy could not be used when
	// the program started: the last good set or the default set.
	Instead string `json:"instead,omitempty"`
	// Shadow is what a candidate would change; nil where there is none.
	Shadow *ShadowStatus `json:"shadow,omitempty"`
}

// NewActive puts engine in force and registers the policy's metrics.
func NewActive(engine *policies.Engine, now time.Time, registerer prometheus.Registerer) *Active {
	a := &Active{
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "detnet_policy_info",
			Help: "1 for the hash of the policy set in force.",
		}, []string{"hash"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_policy_reloads_total",
			Help: "Policy reloads by result: applied or refused.",
		}, []string{"result"}),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "detnet_policy_reload_failed",
			Help: "1 while the newest policy set is refused and the last good one stays in force.",
		}),
	}
	a.standIn = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "detnet_policy_stand_in",
		Help: "1 while the site's policy could not be used since the start, by what is in force instead: last good set or default set.",
	}, []string{"instead"})
	registerer.MustRegister(a.info, a.reloads, a.broken, a.standIn)
	a.put(engine, now)
	return a
}

// StandIn says that the engine stands in for what could not be used, until a reload
// takes effect.
func (a *Active) StandIn(instead string, why error) {
	a.mu.Lock()
	a.instead, a.failed = instead, why
	a.mu.Unlock()
	a.broken.Set(1)
	a.standIn.WithLabelValues(instead).Set(1)
}

// WithShadow has every decision offered to shadow. It is for the time before
// the first decision.
func (a *Active) WithShadow(shadow *Shadow) *Active {
	a.shadow = shadow
	return a
}

// Decide asks the engine in force.
func (a *Active) Decide(ctx context.Context, in policies.Input) (policies.Decision, error) {
	d, err := a.Engine().Decide(ctx, in)
	if err != nil {
		return d, err
	}
	a.recent.record(in)
	if a.shadow != nil {
		a.shadow.Offer(in, d)
	}
	return d, nil
}

// Engine returns the engine in force.
func (a *Active) Engine() *policies.Engine {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.engine
}

// hasInForce says whether the engine in force is of the site's files over the default set.
func (a *Active) hasInForce(site policies.Set) bool {
	return a.Engine().Hash() == site.Over(policies.Default()).Hash()
}

func (a *Active) standsIn() string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.instead
}

// Status describes the engine in force and the last attempt to replace it.
func (a *Active) Status() Status {
	a.mu.RLock()
	engine, since, failed, instead := a.engine, a.since, a.failed, a.instead
	a.mu.RUnlock()
	s := Status{Hash: engine.Hash(), Since: since, Files: slices.Sorted(maps.Keys(engine.Set())), Instead: instead}
	if failed != nil {
		s.LastError = failed.Error()
	}
	if a.shadow != nil {
		shadow := a.shadow.Status()
		s.Shadow = &shadow
	}
	return s
}

func (a *Active) put(engine *policies.Engine, now time.Time) {
	a.mu.Lock()
	a.engine, a.since, a.failed, a.instead = engine, now, nil, ""
	a.mu.Unlock()
	a.info.Reset()
	a.info.WithLabelValues(engine.Hash()).Set(1)
	a.broken.Set(0)
	a.standIn.Reset()
}

// errUnchanged reports that a reload found the set in force.
var errUnchanged = errors.New("policy set is unchanged")

// reload puts set in force if it may serve; otherwise the engine in force
// stays. It returns how many of the pods seen lately would be decided otherwise.
func (a *Active) reload(ctx context.Context, set policies.Set, now time.Time) (changed, of int, err error) {
	inForce := a.Engine()
	if set.Hash() == inForce.Hash() {
		a.put(inForce, a.Status().Since)
		return 0, 0, errUnchanged
	}
	engine, err := policies.Load(ctx, set)
	if err != nil {
		return 0, 0, err
	}
	if changed, of, err = a.recent.copes(ctx, inForce, engine); err != nil {
		return 0, 0, err
	}
	a.put(engine, now)
	a.reloads.WithLabelValues("applied").Inc()
	return changed, of, nil
}

func (a *Active) refuse(err error) {
	a.mu.Lock()
	a.failed = err
	a.mu.Unlock()
	a.reloads.WithLabelValues("refused").Inc()
	a.broken.Set(1)
}
