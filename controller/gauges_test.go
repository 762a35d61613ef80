package controller

import (
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// What is scraped is what is shown now: a pod that has gone leaves no series and no
// labels behind, however many scrape at once.
func TestASeriesGoesWithItsPod(t *testing.T) {
	s := &status.Status{Leader: true, Version: "test", Mode: "enforce", Reasons: []status.Reason{{Bottleneck: plan.Uplink("n1"), Cause: plan.Calm, ToBps: 5}}}
	for _, pod := range []string{"a/one", "a/two"} {
		s.Senders = append(s.Senders, status.Sender{Pod: pod, Node: "n1", LimitBps: 10 * bitrate.Mbit})
	}
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry, func() *status.Status { return s })
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
