package agent

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/agent/probe"
)

// Metrics shows what the sessions of all streams measure. Series of a session
// go when its stream does.
type Metrics struct {
	rtt     *prometheus.HistogramVec
	session map[string]*prometheus.Desc
	up      *prometheus.Desc
	drops   *prometheus.Desc

	mu      sync.Mutex
	senders map[*probe.Sender]bool
	dropped probe.Drops // of senders that are gone
	last    map[string]probe.Result
}

// sessionLabels identify one session in every series.
var sessionLabels = []string{"session", "protocol", "host", "port"}

// outcomes are the values of detnet_probe_packets_total's label.
var outcomes = []string{"sent", "received", "lost", "duplicated", "reordered", "late"}

// NewMetrics registers the probe metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		rtt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "detnet_probe_rtt_seconds",
			Help:    "Round trip of answered probes.",
			Buckets: []float64{50e-6, 100e-6, 200e-6, 300e-6, 500e-6, 750e-6, 1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 250e-3, 1},

			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 100,
		}, sessionLabels),
		session: map[string]*prometheus.Desc{
			"packets": prometheus.NewDesc("detnet_probe_packets_total", "Probe packets by what became of them.", append(sessionLabels, "outcome"), nil),
			"up":      prometheus.NewDesc("detnet_probe_success", "1 if the session can measure, 0 if it has an error.", sessionLabels, nil),
			"source":  prometheus.NewDesc("detnet_probe_timestamp_source", "Who reads the clock: 1 this process, 2 the kernel, 3 the NIC.", sessionLabels, nil),
		},
		drops:   prometheus.NewDesc("detnet_probe_dropped_packets_total", "Received packets that answer no probe, by reason.", []string{"reason"}, nil),
		senders: map[*probe.Sender]bool{},
		last:    map[string]probe.Result{},
	}
	r.MustRegister(m.rtt, m)
	return m
}

func labelsOf(s probe.Session) []string {
	return []string{s.ID, string(s.Protocol), s.Host, strconv.Itoa(int(s.Port))}
}

// observe takes the samples of r, and keeps its totals for the next scrape.
func (m *Metrics) observe(r probe.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rtt := m.rtt.WithLabelValues(labelsOf(r.Session)...)
	for _, s := range r.Samples {
		if !s.Lost {
			rtt.Observe(s.RTT.Seconds())
		}
	}
	r.Samples = nil
	m.last[r.Session.ID] = r
}

func (m *Metrics) add(s *probe.Sender) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.senders[s] = true
}

func (m *Metrics) remove(s *probe.Sender) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.senders, s)
	m.dropped = m.dropped.Plus(s.Drops())
	s.Collect(func(r probe.Result) { m.forget(r.Session) })
}

func (m *Metrics) forget(s probe.Session) {
	m.rtt.DeleteLabelValues(labelsOf(s)...)
	delete(m.last, s.ID)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.drops
	for _, d := range m.session {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dropped := m.dropped
	for s := range m.senders {
		dropped = dropped.Plus(s.Drops())
	}
	for reason, n := range dropped.ByReason() {
		out <- prometheus.MustNewConstMetric(m.drops, prometheus.CounterValue, float64(n), reason)
	}
	for _, r := range m.last {
		labels := labelsOf(r.Session)
		up := 1.0
		if r.Err != nil {
			up = 0
		}
		out <- prometheus.MustNewConstMetric(m.session["up"], prometheus.GaugeValue, up, labels...)
		out <- prometheus.MustNewConstMetric(m.session["source"], prometheus.GaugeValue, float64(r.Timestamps), labels...)
		t := r.Totals
		for i, n := range []uint64{t.Sent, t.Received, t.Lost, t.Duplicated, t.Reordered, t.Late} {
			out <- prometheus.MustNewConstMetric(m.session["packets"], prometheus.CounterValue, float64(n), append(labels, outcomes[i])...)
		}
	}
}
