package agent

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// Metrics shows what the sessions of all streams measure. Series of a session
// go when its stream does. Nobody else is called with its lock held: a scrape
// and a report would wait for each other.
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
}

// shown is what a scrape shows of a session.
type shown struct {
	probe.Result
	stats.Summary
	segment stats.Segment
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
	m.drop(m.keep(r)...)
	rtt := m.rtt.WithLabelValues(labelsOf(r.Session)...)
	for _, s := range r.Samples {
		if !s.Lost {
			rtt.Observe(s.RTT.Seconds())
		}
	}
}

// keep takes what the next scrape wants to know of r, and returns the session
// that it takes the place of, if there is one.
func (m *Metrics) keep(r probe.Result) (replaced []probe.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.last[r.Session.ID]
	if kept == nil || kept.Session != r.Session {
		if kept != nil {
			replaced = []probe.Session{kept.Session}
		}
		kept = &measured{series: stats.New(window)}
		m.last[r.Session.ID] = kept
	}
	kept.series.Add(r.Samples, time.Since(m.begin))
	r.Samples = nil
	kept.Result = r
	return replaced
}

// keepOnly forgets the sessions that are no longer among those just observed.
func (m *Metrics) keepOnly(present map[string]bool) { m.drop(m.forgetAbsent(present)...) }

func (m *Metrics) forgetAbsent(present map[string]bool) (absent []probe.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.senders) > 1 {
		return nil // another stream's may be among them
	}
	for id, kept := range m.last {
		if !present[id] {
			absent = append(absent, kept.Session)
			delete(m.last, id)
		}
	}
	return absent
}

func (m *Metrics) add(s *probe.Sender) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.senders[s] = true
}

// remove forgets a sender that runs no more, and its sessions.
func (m *Metrics) remove(s *probe.Sender) {
	dropped := s.Drops()
	var sessions []probe.Session
	s.Collect(func(r probe.Result) { sessions = append(sessions, r.Session) })
	m.forget(s, dropped, sessions)
	m.drop(sessions...)
}

func (m *Metrics) forget(s *probe.Sender, dropped probe.Drops, sessions []probe.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.senders, s)
	m.dropped = m.dropped.Plus(dropped)
	for _, each := range sessions {
		delete(m.last, each.ID)
	}
}

// drop ends the histograms of sessions that are gone.
func (m *Metrics) drop(sessions ...probe.Session) {
	for _, s := range sessions {
		m.rtt.DeleteLabelValues(labelsOf(s)...)
	}
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
	sessions, senders, dropped := m.view()
	for _, s := range senders {
		dropped = dropped.Plus(s.Drops())
	}
	for reason, n := range dropped.ByReason() {
		out <- prometheus.MustNewConstMetric(m.drops, prometheus.CounterValue, float64(n), reason)
	}
	for _, each := range sessions {
		m.collect(out, each)
	}
}

// view returns what is known now: of the sessions, of who else to ask for drops,
// and how many there were of those that are gone.
func (m *Metrics) view() (sessions []shown, senders []*probe.Sender, dropped probe.Drops) {
	m.mu.Lock()
	defer m.mu.Unlock()
	views := make([]stats.View, 0, len(m.last))
	for _, kept := range m.last {
		s := kept.series.Summary()
		sessions = append(sessions, shown{Result: kept.Result, Summary: s})
		views = append(views, stats.View{Node: kept.Session.Host, Summary: s})
	}
	for i, segment := range stats.Congested(views, congestion) {
		sessions[i].segment = segment
	}
	return sessions, slices.Collect(maps.Keys(m.senders)), m.dropped
}

// congestion is the median wait from which a segment is named.
const congestion = 500 * time.Microsecond

// collect sends one session's series.
func (m *Metrics) collect(out chan<- prometheus.Metric, s shown) {
	labels := labelsOf(s.Session)
	gauge := func(name string, v float64, more ...string) {
		out <- prometheus.MustNewConstMetric(m.session[name], prometheus.GaugeValue, v, with(labels, more...)...)
	}
	up := 1.0
	if s.Err != nil {
		up = 0
	}
	gauge("up", up)
	gauge("source", float64(s.Timestamps))
	if s.Summary.Samples > s.Lost {
		gauge("latency", s.RTT.P50.Seconds())
		gauge("jitter", s.PDV.P95.Seconds())
		gauge("segment", 1, string(s.segment))
	}
	if s.HasOneWay {
		gauge("oneway", s.Forward.P95.Seconds(), "forward")
		gauge("oneway", s.Backward.P95.Seconds(), "backward")
	}
	if s.HasQueue {
		gauge("queue", s.Queue.P95.Seconds())
	}
	t := s.Totals
	for i, n := range []uint64{t.Sent, t.Received, t.Lost, t.Duplicated, t.Reordered, t.Late} {
		out <- prometheus.MustNewConstMetric(m.session["packets"], prometheus.CounterValue, float64(n), with(labels, outcomes[i])...)
	}
}
