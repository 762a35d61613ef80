package actuate

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	latency  *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer, waiting func() Waiting) *metrics {
	m := &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                           "detnet_patch_duration_seconds",
			Help:                           "Time from the decision to the API server's answer for a limit, by direction (cut or raise).",
			Buckets:                        prometheus.ExponentialBuckets(0.004, 2, 12),
			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 100,
		}, []string{"direction"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_patch_failures_total",
			Help: "Limits that could not be written: the pod is gone, the API server refused, or was unreachable and will be tried again.",
		}, []string{"reason"}),
	}
	if to != nil {
		length := func(kind string, of func(Waiting) int) prometheus.Collector {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "detnet_writes_waiting", ConstLabels: prometheus.Labels{"kind": kind},
				Help: "Limits that have yet to be written, by kind: cut (nothing else enforces it) or other (raises, and records of what an agent enforces).",
			}, func() float64 { return float64(of(waiting())) })
		}
		to.MustRegister(m.latency, m.failures,
			length("cut", func(w Waiting) int { return w.Cuts }), length("other", func(w Waiting) int { return w.Others }))
	}
	return m
}

func (m *metrics) wrote(w waiting, took time.Duration) {
	direction := "raise"
	if w.Urgent() {
		direction = "cut"
	}
	m.latency.WithLabelValues(direction).Observe(took.Seconds())
}

func (m *metrics) failed(reason string) { m.failures.WithLabelValues(reason).Inc() }
