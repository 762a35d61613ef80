package controller

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// What is scraped is what is shown now: a pod that has gone leaves no series and no
// labels behind, however many scrape at once.
func TestASeriesGoesWithItsPod(t *testing.T) {
	s := &status.Status{Leader: true, Version: "test", Mode: "enforce", Reasons: []status.Reason{{Bottleneck: plan.Uplink("n1"), Cause: plan.Calm, ToBps: 5}}}
	for _, pod := range []string{"a/one", "a/two"} {
		s.Senders = append(s.Senders, status.Sender{Pod: pod, Node: "n1", LimitBps: 10 * bitrate.Mbit})
	}
	counters := prometheus.NewPedanticRegistry()
	m := NewMetrics(counters, func() *status.Status { return s })
	registry := prometheus.Gatherers{m.Gatherer(counters)} // which checks what it gathers
	expect := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(`# HELP detnet_egress_limit_bits_per_second Egress limit in force on a throttleable pod; 0 is none. Above 2,000 such pods, the sum of a node's, with an empty pod.
# TYPE detnet_egress_limit_bits_per_second gauge
`+want), "detnet_egress_limit_bits_per_second"); err != nil {
			t.Error(err)
		}
	}
	expect("detnet_egress_limit_bits_per_second{node=\"n1\",pod=\"a/one\"} 1e+07\ndetnet_egress_limit_bits_per_second{node=\"n1\",pod=\"a/two\"} 1e+07\n")
	before := len(m.gauges.known)
	gone := *s
	gone.Senders = []status.Sender{{Pod: "a/two", Node: "n1", LimitBps: 20 * bitrate.Mbit}}
	s = &gone
	expect("detnet_egress_limit_bits_per_second{node=\"n1\",pod=\"a/two\"} 2e+07\n")
	if kept := len(m.gauges.known); kept != before-1 {
		t.Errorf("labels of %d series are kept, of %d before the pod went", kept, before)
	}
	var scrapers sync.WaitGroup
	for range 4 {
		scrapers.Go(func() {
			for range 20 {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	scrapers.Wait()
}

// stuck are measurements that answer who shows them only once that is allowed.
type stuck struct {
	*stage
	asked, answer chan struct{}
}

func (s stuck) State(inventory.Agent) agents.State {
	s.asked <- struct{}{}
	<-s.answer
	return agents.State{Connected: true}
}

// However long a scrape takes, the loop decides meanwhile.
func TestAScrapeDelaysNoTick(t *testing.T) {
	s := stuck{&stage{snapshot: &inventory.Snapshot{
		Apps:    []*inventory.App{app("robot", workload.Enforce)},
		Senders: []*inventory.Sender{sender("bulk", workload.Enforce)},
		Agents:  []inventory.Agent{{Node: "worker-2", Role: api.Role_ROLE_PROBE, UID: "2"}},
	}}, make(chan struct{}, 10), make(chan struct{})}
	l := s.loop(Settings{Law: lawNamed(t, law.Adaptive), Config: law.DefaultConfig(), Mode: workload.Enforce, Vantages: 1})
	l.Measurements = s
	leads, now := term{loop: l}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leads.tick(t.Context(), now)
	shown := l.newest.Load()
	scraped := make(chan error)
	go func() {
		_, err := l.Metrics.Gatherer(prometheus.NewRegistry()).Gather()
		scraped <- err
	}()
	<-s.asked
	for range 3 {
		now = now.Add(Period)
		leads.tick(t.Context(), now) // hangs where it waits for who is shown
	}
	if l.newest.Load() == shown {
		t.Error("nothing new was decided")
	}
	close(s.answer)
	if err := <-scraped; err != nil {
		t.Error(err)
	}
}
