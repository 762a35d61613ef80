package webhook

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/policies"
)

// Results of a request.
const (
	resultStamped     = "stamped"
	resultUnchanged   = "unchanged"
	resultDenied      = "denied"
	resultUnevaluated = "unevaluated"
	resultMalformed   = "malformed"
	resultExempt      = "exempt"
)

// Reasons of problems. Those of a Warning are in patch.go.
const (
	reasonMalformed  = "malformed-request"
	reasonPanic      = "panic"
	reasonPolicy     = "policy-error"
	reasonPod        = "unreadable-pod"
	reasonDeadline   = "deadline"
	reasonCluster    = "cluster-lookup"
	reasonAnnotation = "bad-annotation"
	reasonUnsigned   = "unsigned"
	reasonObserved   = "only-observed"
)

// Metrics are the webhook's figures.
type Metrics struct {
	requests  *prometheus.CounterVec
	decisions *prometheus.CounterVec
	problems  *prometheus.CounterVec
	duration  prometheus.Histogram
}

// NewMetrics registers the webhook's metrics.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_webhook_requests_total",
			Help: "Admission requests by result.",
		}, []string{"result"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_webhook_decisions_total",
			Help: "Decisions by class; an empty class means the pod did not concern detnet.",
		}, []string{"class"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_webhook_problems_total",
			Help: "What kept a pod from being stamped as asked, by reason.",
		}, []string{"reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                        "detnet_webhook_duration_seconds",
			Help:                        "Time from a decoded pod to its patch.",
			Buckets:                     prometheus.ExponentialBuckets(0.0001, 2, 14),
			NativeHistogramBucketFactor: 1.1,
		}),
	}
	registerer.MustRegister(m.requests, m.decisions, m.problems, m.duration)
	return m
}

func (m *Metrics) request(result string) { m.requests.WithLabelValues(result).Inc() }
func (m *Metrics) problem(reason string) { m.problems.WithLabelValues(reason).Inc() }

func (m *Metrics) decision(d policies.Decision) {
	m.decisions.WithLabelValues(d.Class).Inc()
	for range d.Problems {
		m.problem(reasonAnnotation)
	}
}

// reasonOf names why nothing was decided.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonDeadline
	case errors.Is(err, policies.ErrPolicy):
		return reasonPolicy
	case errors.Is(err, policies.ErrInput):
		return reasonPod
	}
	return reasonCluster
}
