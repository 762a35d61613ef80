package live

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/policies"
)

// Shadow decides by a candidate policy beside the one in force, on live
// traffic and without effect, and counts what would change.
type Shadow struct {
	candidate *policies.Engine
	queue     chan shadowed

	mu     sync.Mutex
	status ShadowStatus

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
	Pods    int            `json:"pods"`
	Changed int            `json:"changed"`
	Failed  int            `json:"failed"`
	Skipped int            `json:"skipped"` // not compared because too many came at once
	Fields  map[string]int `json:"fields,omitempty"`
}

// shadowQueue is how many decisions may wait for their comparison.
const shadowQueue = 256

// NewShadow returns a Shadow of candidate and registers its metrics.
func NewShadow(candidate *policies.Engine, registerer prometheus.Registerer) *Shadow {
	s := &Shadow{
		candidate: candidate,
		queue:     make(chan shadowed, shadowQueue),
		status:    ShadowStatus{Hash: candidate.Hash(), Fields: map[string]int{}},
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

// Offer hands over a decision of the policy in force. It never waits.
func (s *Shadow) Offer(in policies.Input, decision policies.Decision) {
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
	d, err := s.candidate.Decide(ctx, offered.in)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.count("failed", func(st *ShadowStatus) { st.Pods++; st.Failed++ })
		return
	}
	changes := policies.Compare(offered.decision, d)
	if len(changes) == 0 {
		s.count("same", func(st *ShadowStatus) { st.Pods++ })
		return
	}
	s.count("changed", func(st *ShadowStatus) {
		st.Pods++
		st.Changed++
		for _, c := range changes {
			st.Fields[c.Field]++
			s.fields.WithLabelValues(c.Field).Inc()
		}
	})
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
	out.Fields = map[string]int{}
	for field, n := range s.status.Fields {
		out.Fields[field] = n
	}
	return out
}
