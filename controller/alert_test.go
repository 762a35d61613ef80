package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/promql/promtest"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// link is a stage whose probes meet a queue that no limit moves.
type link struct {
	*stage
	queue func(at time.Time) time.Duration

	seen time.Time // up to when samples are
	all  []plan.Sample
}

func (l *link) Look(into *agents.Look, now time.Time) { look(l, into, now) }

// Session is what 50 probes a second saw in the last five seconds.
func (l *link) Session(_ string, now time.Time) agents.Measurement {
	const every = 20 * time.Millisecond
	if l.seen.Equal(now) { // all paths are the same one
		return agents.Measurement{Samples: l.all}
	}
	samples := make([]plan.Sample, 0, 251)
	for at := now.Add(-5 * time.Second).Truncate(every); !at.After(now); at = at.Add(every) {
		noise := time.Duration(at.UnixNano()/int64(every)%5) * 10 * time.Microsecond
		samples = append(samples, plan.Sample{At: plan.At(at), RTT: 300*time.Microsecond + l.queue(at) + noise})
	}
	l.seen, l.all = now, samples
	return agents.Measurement{Samples: samples}
}

func (l *link) Rates(pod plan.PodID, now time.Time) []plan.TxRate {
	rates := make([]plan.TxRate, 10)
	for i := range rates {
		rates[i] = plan.TxRate{At: plan.At(now.Add(time.Duration(i-9) * Period)), Tx: min(90*mbit, l.held[pod.Name].Rate)}
	}
	return rates
}

func (l *link) Submit(changes []actuate.Change) {
	for _, c := range changes {
		l.held[c.Pod.Name] = agents.Held{Rate: c.To}
	}
}

func (l *link) Held(pod plan.PodID, _ time.Time) (agents.Held, bool) { return l.held[pod.Name], true }

// A queue that stands for ten minutes, and that no limit moves, is a violation for
// ten minutes: in the status, in the metric and in the alert, whatever the mode and
// the law.
func TestAQueueOfTenMinutesIsViolatedForTenMinutes(t *testing.T) {
	const onset, gone, end, scrape = time.Minute, 11 * time.Minute, 14 * time.Minute, 15 * time.Second
	rules := promtest.Rules{File: "../charts/detnet/files/alerts.yaml", Every: scrape}
	var alerts []string
	modes := []workload.ControlMode{workload.Enforce, workload.Observe, workload.Off}
	for _, name := range law.Names() {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		s := &link{stage: &stage{held: map[string]agents.Held{}}}
		s.queue = func(at time.Time) time.Duration {
			if since := at.Sub(start); since > onset && since < gone {
				return 40 * time.Millisecond
			}
			return 0
		}
		s.snapshot = &inventory.Snapshot{Agents: []inventory.Agent{{Node: "worker-2", Role: api.Role_ROLE_PROBE, UID: "agent-2"}}}
		run := fmt.Sprintf("run=%q", name)
		for _, mode := range modes {
			s.snapshot.Apps = append(s.snapshot.Apps, app(string(mode), mode))
			s.snapshot.Senders = append(s.snapshot.Senders, sender("telemetry-"+string(mode), mode))
			s.held["telemetry-"+string(mode)] = agents.Held{Rate: 100 * mbit}
			alerts = append(alerts, fmt.Sprintf(`{alertname="DetnetTargetViolated", pod="factory/%s", %s}`, mode, run))
		}
		l := s.loop(Settings{Law: lawNamed(t, name), Mode: workload.Enforce, Vantages: 1})
		registry := prometheus.NewRegistry()
		l.Measurements, l.Limits, l.Metrics = s, s, NewMetrics(registry, l.Status)
		leads, scrapes := term{loop: l}, promtest.Scrapes{}
		for since := time.Duration(0); since <= end; since += 500 * time.Millisecond {
			leads.tick(t.Context(), start.Add(since))
			if since%scrape == 0 {
				scrapes.Scrape(t, l.Metrics.Gatherer(registry), run)
			}
			if since%time.Second != 0 || (since-onset).Abs() < 3*time.Second || (since-gone).Abs() < 3*time.Second {
				continue
			}
			want := status.OK
			if since > onset && since < gone {
				want = status.Violated
			}
			for _, got := range l.Status().Apps {
				if got.State != want {
					t.Fatalf("law %s, mode %s: %s at %v, want %s: %+v", name, got.Mode, got.State, since, want, got.Measured)
				}
			}
		}
		rules.Series(&scrapes)
	}
	const firing = `sum by (alertname, pod, run) (ALERTS{alertname="DetnetTargetViolated", alertstate="firing"})`
	for at := scrape; at <= end; at += scrape {
		switch {
		case at <= onset+time.Minute, at > gone+scrape:
			rules.Expect(firing, at)
		case at >= onset+time.Minute+2*scrape && at < gone:
			rules.Expect(firing, at, alerts...)
		}
	}
	rules.Run(t)
}

func lawNamed(t *testing.T, name string) law.Law {
	t.Helper()
	l, err := law.New(name, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return l
}
