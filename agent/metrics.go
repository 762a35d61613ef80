package agent

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// Metrics shows what the sessions of all streams measure. Series of a session
// go when its stream does.
type Metrics struct {
	rtt     *prometheus.HistogramVec
	session map[string]*prometheus.Desc
	drops   *prometheus.Desc

	mu      sync.Mutex
	senders map[*probe.Sender]bool
	dropped probe.Drops // of senders that are gone
	last    map[string]*measured
	begin   time.Time
}

// measured is one session's recent past.
type measured struct {
	probe.Result
	series *stats.Series
	rtt    prometheus.Observer
}

// window is how many samples the gauges describe: two and a half seconds at 50 Hz.
const window = 128

// sessionLabels identify one session in every series.
var sessionLabels = []string{"session", "protocol", "host", "port"}

// with is labels and more, in memory of its own.
func with(labels []string, more ...string) []string {
	return append(slices.Clone(labels), more...)
}

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
			"packets": prometheus.NewDesc("detnet_probe_packets_total", "Probe packets by what became of them.", with(sessionLabels, "outcome"), nil),
			"up":      prometheus.NewDesc("detnet_probe_success", "1 if the session can measure, 0 if it has an error.", sessionLabels, nil),
			"latency": prometheus.NewDesc("detnet_probe_latency_seconds", "Median round trip of the newest probes.", sessionLabels, nil),
			"jitter":  prometheus.NewDesc("detnet_probe_jitter_seconds", "95th percentile of the delay variation (PDV, RFC 5481) of the newest probes.", sessionLabels, nil),
			"oneway":  prometheus.NewDesc("detnet_probe_one_way_variation_seconds", "95th percentile of the delay above the base in one direction.", with(sessionLabels, "direction"), nil),
			"queue":   prometheus.NewDesc("detnet_probe_own_queue_seconds", "95th percentile of the time in this host's own queue.", sessionLabels, nil),
			"segment": prometheus.NewDesc("detnet_probe_congested_segment", "1 for the segment where the session's packets wait.", with(sessionLabels, "segment"), nil),
			"source":  prometheus.NewDesc("detnet_probe_timestamp_source", "Who reads the clock: 1 this process, 2 the kernel, 3 the NIC.", sessionLabels, nil),
		},
		drops:   prometheus.NewDesc("detnet_probe_dropped_packets_total", "Received packets that answer no probe, by reason.", []string{"reason"}, nil),
		senders: map[*probe.Sender]bool{},
		last:    map[string]*measured{},
		begin:   time.Now(),
	}
	r.MustRegister(m.rtt, m)
	return m
}

func labelsOf(s probe.Session) []string {
	return []string{s.ID, string(s.Protocol), s.Host, strconv.Itoa(int(s.Port))}
}

// observe takes the samples of r, and keeps what the next scrape wants to know.
func (m *Metrics) observe(r probe.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.last[r.Session.ID]
	if kept == nil || kept.Session != r.Session {
		if kept != nil {
			m.forget(kept.Session)
		}
		kept = &measured{series: stats.New(window), rtt: m.rtt.WithLabelValues(labelsOf(r.Session)...)}
		m.last[r.Session.ID] = kept
	}
	kept.series.Add(r.Samples, time.Since(m.begin))
	for _, s := range r.Samples {
		if !s.Lost {
			kept.rtt.Observe(s.RTT.Seconds())
		}
	}
	r.Samples = nil
	kept.Result = r
}

// keepOnly forgets the sessions that are no longer among those just observed.
func (m *Metrics) keepOnly(present map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.senders) > 1 {
		return // another stream's may be among them
	}
	for id, kept := range m.last {
		if !present[id] {
			m.forget(kept.Session)
		}
	}
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
	views := make([]stats.View, 0, len(m.last))
	sessions := make([]*measured, 0, len(m.last))
	for _, kept := range m.last {
		sessions = append(sessions, kept)
		views = append(views, stats.View{Node: kept.Session.Host, Summary: kept.series.Summary()})
	}
	for i, segment := range stats.Congested(views, congestion) {
		m.collect(out, sessions[i], views[i].Summary, segment)
	}
}

// congestion is the median wait from which a segment is named.
const congestion = 500 * time.Microsecond

// collect sends one session's series.
func (m *Metrics) collect(out chan<- prometheus.Metric, kept *measured, s stats.Summary, segment stats.Segment) {
	labels := labelsOf(kept.Session)
	gauge := func(name string, v float64, more ...string) {
		out <- prometheus.MustNewConstMetric(m.session[name], prometheus.GaugeValue, v, with(labels, more...)...)
	}
	up := 1.0
	if kept.Err != nil {
		up = 0
	}
	gauge("up", up)
	gauge("source", float64(kept.Timestamps))
	if s.Samples > s.Lost {
		gauge("latency", s.RTT.P50.Seconds())
		gauge("jitter", s.PDV.P95.Seconds())
		gauge("segment", 1, string(segment))
	}
	if s.HasOneWay {
		gauge("oneway", s.Forward.P95.Seconds(), "forward")
		gauge("oneway", s.Backward.P95.Seconds(), "backward")
	}
	if s.HasQueue {
		gauge("queue", s.Queue.P95.Seconds())
	}
	t := kept.Totals
	for i, n := range []uint64{t.Sent, t.Received, t.Lost, t.Duplicated, t.Reordered, t.Late} {
		out <- prometheus.MustNewConstMetric(m.session["packets"], prometheus.CounterValue, float64(n), with(labels, outcomes[i])...)
	}
}
