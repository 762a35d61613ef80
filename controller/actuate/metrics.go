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
			Help:                           "Time from the decision to the API server's answer for a limit, by direction (cut or raise); for a record of what an agent enforces from a second after its value last changed.",
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
		to.MustRegister(m.latency, m.failures, length(waiting))
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

// length collects how many writes wait.
type length func() Waiting

var lengthDesc = prometheus.NewDesc("detnet_writes_waiting",
	"Limits that have yet to be written, by kind: cut (nothing else enforces it) or other (raises, and records of what an agent enforces).",
	[]string{"kind"}, nil)

func (length) Describe(to chan<- *prometheus.Desc) { to <- lengthDesc }

func (l length) Collect(to chan<- prometheus.Metric) {
	w := l()
	to <- prometheus.MustNewConstMetric(lengthDesc, prometheus.GaugeValue, float64(w.Cuts), "cut")
	to <- prometheus.MustNewConstMetric(lengthDesc, prometheus.GaugeValue, float64(w.Others), "other")
}
