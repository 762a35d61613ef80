package controller

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// Metrics of the loop. Gauges are read from the status at each scrape, so a pod
// that is gone leaves no series behind; they are in Gatherer.
type Metrics struct {
	status    func() *status.Status
	decisions *prometheus.CounterVec
	tick      prometheus.Histogram
	gauges    gauges
}

// NewMetrics registers what the loop counts; status is read at each scrape.
func NewMetrics(reg prometheus.Registerer, status func() *status.Status) *Metrics {
	m := &Metrics{
		status: status,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "detnet_decisions_total",
			Help: "Changes of mind or limit, by action and cause.",
		}, []string{"action", "cause"}),
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "detnet_tick_duration_seconds",
			Help:    "Time one round of observe, decide and submit takes; a round begins every 100 ms, each second while all is calm.",
			Buckets: []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 5},
		}),
	}
	// An alert on an increase can't see a series begin at 1.
	for _, action := range []plan.Action{plan.Hold, plan.Restore} {
		m.decisions.WithLabelValues(string(action), string(plan.Unresponsive))
	}
	reg.MustRegister(m.decisions, m.tick)
	return m
}

// Gatherer adds the gauges to what rest gathers. A registry would check, hash and sort each
// of their series anew at each scrape: with many nodes that is most of what a scrape takes.
func (m *Metrics) Gatherer(rest prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := rest.Gather()
		s := m.status()
		families = append(families, m.gauges.families(func(put putter) { collect(put, s) })...)
		slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
		return families, err
	})
}

func (m *Metrics) ticked(d time.Duration) { m.tick.Observe(d.Seconds()) }

func (m *Metrics) decided(r plan.Reason) {
	m.decisions.WithLabelValues(string(r.Action), string(r.Cause)).Inc()
}

var (
	descBuild       = describe("detnet_build_info", "1, with the version as label.", "version")
	descLeader      = describe("detnet_leader", "1 on the replica that controls, 0 on a standby.")
	descMode        = describe("detnet_mode", "1 for the cluster's mode.", "mode")
	descMeasured    = describe("detnet_app_measured_seconds", "90th percentile of the newest samples of a critical pod's worst session, the one that decides; signal is jitter or latency.", "pod", "signal")
	descTarget      = describe("detnet_app_target_seconds", "What the critical pod asks for.", "pod", "signal")
	descLoss        = describe("detnet_app_loss_ratio", "Share of that session's probes that were lost over the last two seconds.", "pod")
	descLossTarget  = describe("detnet_app_loss_target_ratio", "What the critical pod asks for.", "pod")
	descNodeSession = describe("detnet_app_node_session_seconds", "90th percentile of delay variation of the newest samples to the agent on a critical pod's node, of the worst session: jitter that is not in it is not the network's.", "pod")
	descViolation   = describe("detnet_app_violation_ratio", "Share of the probes of the last five seconds that broke a target.", "pod")
	descState       = describe("detnet_app_state", "1 for the critical pod's state: ok, violated or blind.", "pod", "state")
	descLimit       = describe("detnet_egress_limit_bits_per_second", "Egress limit in force on a throttleable pod; 0 is none. Above 2,000 such pods, the sum of a node's, with an empty pod.", "pod", "node")
	descUsage       = describe("detnet_egress_usage_bits_per_second", "What a throttleable pod sent over the last second; summed up in the same way.", "pod", "node")
	descRefused     = describe("detnet_egress_limit_refused", "1 for a throttleable pod whose limit the API server refuses to change: what it sends is not controlled. Summed up in the same way.", "pod", "node")
	descBudget      = describe("detnet_bottleneck_budget_bits_per_second", "What the throttleable pods behind a bottleneck may use together.", "bottleneck")
	descCause       = describe("detnet_bottleneck_cause", "1 for why the present decision about a bottleneck is what it is.", "bottleneck", "cause")
	descPhase       = describe("detnet_bottleneck_phase", "1 for the phase that the control of a bottleneck is in: open, doubting, cutting, testing, draining, settled, exploring, trying or released.", "bottleneck", "phase")
	descBlind       = describe("detnet_blind_sessions", "Sessions without enough new samples to judge by, or any good answer of Prometheus.")
	descAgent       = describe("detnet_agent_connected", "1 if the agent reports.", "pod", "node", "role")
	descExcess      = describe("detnet_agent_refused_reports", "How often this replica ended an agent's stream because it reported more than its sessions and pods can take; agents of which it never did have no series.", "pod", "node", "role")
	descProblems    = describe("detnet_problems", "Annotations and modes that could not be read, and namespaces whose pods' floors come to more than is granted.")
	descUnstamped   = describe("detnet_unstamped_pods", "Pods without stamps that admission has signed: neither protected nor limited until they are mended.")
	descGivingBack  = describe("detnet_limits_to_give_back", "Limits that are still to be given back where detnet does not enforce any more.")
)

func collect(put putter, s *status.Status) {
	put(descBuild, 1, s.Version)
	put(descLeader, number(s.Leader))
	put(descMode, 1, s.Mode)
	if !s.Leader {
		return
	}
	blind := 0
	for _, app := range s.Apps {
		collectApp(put, app)
		for _, session := range app.Sessions {
			if session.Blind {
				blind++
			}
		}
	}
	put(descBlind, float64(blind))
	put(descUnstamped, float64(s.Unstamped))
	put(descGivingBack, float64(s.GivingBack))
	problems := 0
	for _, p := range s.Problems {
		if !p.Unstamped {
			problems++
		}
	}
	put(descProblems, float64(problems))
	collectSenders(put, s.Senders)
	for _, r := range s.Reasons {
		if !r.Observed {
			bottleneck := r.Bottleneck.String()
			put(descBudget, float64(r.ToBps), bottleneck)
			put(descCause, 1, bottleneck, string(r.Cause))
			if r.Phase != "" {
				put(descPhase, 1, bottleneck, string(r.Phase))
			}
		}
	}
	for _, a := range s.Agents {
		put(descAgent, number(a.Connected), a.Pod, a.Node, a.Role)
		if a.Refused > 0 {
			put(descExcess, float64(a.Refused), a.Pod, a.Node, a.Role)
		}
	}
}

// mostPods is how many throttleable pods have series of their own.
const mostPods = 2000

// collectSenders sums up by node, with an empty pod, where there are more than mostPods.
func collectSenders(put putter, senders []status.Sender) {
	type sum struct {
		of   *description
		node string
	}
	places, sums := map[sum]int{}, []sum{} // in the same order at each scrape
	var values []float64
	add := func(of *description, v float64, sender *status.Sender) {
		if len(senders) <= mostPods {
			put(of, v, sender.Pod, sender.Node)
			return
		}
		at := sum{of, sender.Node}
		place, known := places[at]
		if !known {
			place = len(sums)
			places[at], sums, values = place, append(sums, at), append(values, 0)
		}
		values[place] += v
	}
	for i := range senders {
		sender := &senders[i]
		add(descLimit, float64(sender.LimitBps), sender)
		if sender.Refused != "" {
			add(descRefused, 1, sender)
		}
		if sender.Known {
			add(descUsage, float64(sender.UsageBps), sender)
		}
	}
	for i, at := range sums {
		put(at.of, values[i], "", at.node)
	}
}

func collectApp(put putter, app status.App) {
	const ms = 1e-3
	for _, state := range []string{status.OK, status.Violated, status.Blind} {
		put(descState, number(app.State == state), app.Pod, state)
	}
	for _, of := range []struct {
		signal           string
		measured, target float64
	}{
		{"jitter", app.Measured.JitterMs, app.Target.JitterMs},
		{"latency", app.Measured.LatencyMs, app.Target.LatencyMs},
	} {
		if app.State != status.Blind {
			put(descMeasured, of.measured*ms, app.Pod, of.signal)
		}
		if of.target > 0 {
			put(descTarget, of.target*ms, app.Pod, of.signal)
		}
	}
	if app.State != status.Blind {
		put(descLoss, app.Measured.Loss, app.Pod)
		put(descViolation, app.ViolationRatio, app.Pod)
	}
	if worst, known := worstToNode(app); known {
		put(descNodeSession, worst*ms, app.Pod)
	}
	if app.Target.Loss > 0 {
		put(descLossTarget, app.Target.Loss, app.Pod)
	}
}

// worstToNode is the worst jitter that the app's node sessions see, in ms.
func worstToNode(app status.App) (worst float64, known bool) {
	for _, s := range app.Sessions {
		if s.NodeSession != nil && !s.NodeSession.Blind {
			worst, known = max(worst, s.NodeSession.Measured.JitterMs), true
		}
	}
	return worst, known
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
