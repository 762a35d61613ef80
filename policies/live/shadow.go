package live

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
)

// Shadow decides by a candidate policy beside the one in force, on live
// traffic and without effect, and counts what would change.
type Shadow struct {
	queue chan shadowed

	mu        sync.Mutex
	candidate *policies.Engine // nil: none yet
	status    ShadowStatus     // since the candidate is this one

	pods   *prometheus.CounterVec
	fields *prometheus.CounterVec
}

// shadowed is a decision to compare with the candidate's.
type shadowed struct {
	in       policies.Input
	decision policies.Decision
}

// ShadowStatus is what a candidate would change: Changed of Pods.
type ShadowStatus struct {
	Hash    string         `json:"hash"`
	Since   time.Time      `json:"since"`
	Pods    int            `json:"pods"`
	Changed int            `json:"changed"`
	Failed  int            `json:"failed"`
	Skipped int            `json:"skipped"` // not compared because too many came at once
	Fields  map[string]int `json:"fields,omitempty"`
	// Examples are a few of the workloads that would change, one pod of each.
	Examples []trial.Difference `json:"examples,omitempty"`
	// LastError is why a newer candidate is not tried.
	LastError string `json:"lastError,omitempty"`
}

// shadowQueue is how many decisions may wait for their comparison, and
// maxExamples how many workloads are named.
const (
	shadowQueue = 256
	maxExamples = 10
)

// NewShadow returns a Shadow without a candidate, which Follow brings, and
// registers its metrics. A candidate that is no good must not keep the policy in
// force from serving, not even at the start.
func NewShadow(registerer prometheus.Registerer) *Shadow {
	s := &Shadow{
		queue: make(chan shadowed, shadowQueue),
		pods: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_policy_shadow_pods_total",
			Help: "Pods decided by the candidate policy by outcome: same, changed, failed or skipped.",
		}, []string{"outcome"}),
		fields: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_policy_shadow_changes_total",
			Help: "Pods on which the candidate policy differs, by field of the decision.",
		}, []string{"field"}),
	}
	registerer.MustRegister(s.pods, s.fields)
	return s
}

func (s *Shadow) engine() *policies.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.candidate
}

// put tries another candidate, and counts anew.
func (s *Shadow) put(candidate *policies.Engine, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidate = candidate
	s.status = ShadowStatus{Hash: candidate.Hash(), Since: now, Fields: map[string]int{}}
}

// Follow tries what is in a directory whenever it changes, until ctx ends. Refused is told why a
// candidate is not tried.
func (s *Shadow) Follow(ctx context.Context, dir string, log *slog.Logger, refused func(error)) error {
	return followDir(ctx, dir, untried, s, log, refused)
}

func (s *Shadow) take(ctx context.Context, site policies.Set, log *slog.Logger, refused func(error), last string) string {
	set := site.Over(policies.Default())
	hash := set.Hash()
	if hash == last {
		return last
	}
	candidate, err := policies.Load(ctx, set)
	if ctx.Err() != nil {
		return last
	}
	if err != nil {
		s.mu.Lock()
		s.status.LastError = err.Error()
		s.mu.Unlock()
		log.Error("candidate policy refused; the one before, if any, is still tried", "refused", hash, "err", err)
		refused(err)
		if errors.Is(err, policies.ErrSlow) {
			return untried
		}
		return hash
	}
	s.put(candidate, time.Now())
	log.Info("another candidate policy is tried", "hash", hash)
	return hash
}

// Offer hands over a decision of the policy in force. It never waits.
func (s *Shadow) Offer(in policies.Input, decision policies.Decision) {
	if s.engine() == nil {
		return
	}
	select {
	case s.queue <- shadowed{in, decision}:
	default:
		s.count("skipped", func(st *ShadowStatus) { st.Skipped++ })
	}
}

// Run compares until ctx ends.
func (s *Shadow) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case offered := <-s.queue:
			s.compare(ctx, offered)
		}
	}
}

func (s *Shadow) compare(ctx context.Context, offered shadowed) {
	d, err := s.engine().Decide(ctx, offered.in)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.count("failed", func(st *ShadowStatus) {
			st.Pods++
			st.Failed++
			st.example(trial.Difference{Source: sourceOf(offered.in), Error: err.Error()})
		})
		return
	}
	changes := trial.Compare(offered.decision, d)
	if len(changes) == 0 {
		s.count("same", func(st *ShadowStatus) { st.Pods++ })
		return
	}
	for _, c := range changes {
		s.fields.WithLabelValues(c.Field).Inc()
	}
	s.count("changed", func(st *ShadowStatus) {
		st.Pods++
		st.Changed++
		st.example(trial.Difference{Source: sourceOf(offered.in), Changes: changes})
		for _, c := range changes {
			st.Fields[c.Field]++
		}
	})
}

// example keeps one pod of each of the first few workloads.
func (st *ShadowStatus) example(d trial.Difference) {
	known := slices.ContainsFunc(st.Examples, func(e trial.Difference) bool { return e.Source == d.Source })
	if !known && len(st.Examples) < maxExamples {
		st.Examples = append(st.Examples, d)
	}
}

func (s *Shadow) count(outcome string, change func(*ShadowStatus)) {
	s.pods.WithLabelValues(outcome).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// Status says what the candidate would have changed so far.
func (s *Shadow) Status() ShadowStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.Fields, out.Examples = maps.Clone(out.Fields), slices.Clone(out.Examples)
	return out
}
