package agents

import (
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/plan"
)

// What an agent can have a controller keep or make room for is bounded.
func TestReportsAreBounded(t *testing.T) {
	for _, n := range []int{mostSamples, mostSamples + 1} {
		_, full := samples(nil, &api.SessionReport{AgeNs: make([]int64, n), RttNs: make([]int64, n)}, epoch)
		_, packed := unpacked(nil, &api.PackedSession{Gap: make([]uint32, n), RttUs: make([]uint32, n)}, epoch)
		if refused := n > mostSamples; (full != nil) != refused || (packed != nil) != refused {
			t.Errorf("%d samples: %v; packed: %v", n, full, packed)
		}
	}
	p, from, _ := counting(1)
	report := &api.Report{Sessions: []*api.SessionReport{{Id: "s0", Error: strings.Repeat("é", longestWhy)}}}
	if err := p.receive(&speech{from: from}, report, epoch); err != nil {
		t.Fatal(err)
	}
	if kept := p.Session("s0", epoch).Error; len(kept) > longestWhy || len(kept) < longestWhy-1 {
		t.Errorf("%d octets of an error are kept", len(kept))
	}
}

// What an agent enforces is as good as its word for as long as its stream is: a second longer
// after a report that was calm.
func TestALimitIsInForceWhileItsAgentReports(t *testing.T) {
	for _, calm := range []bool{false, true} {
		p, from, _ := counting(1)
		report := &api.Report{Calm: calm, TakesLimits: true, Named: names(1), Usage: []*api.Usage{{Pods: []uint32{1}, TxKbps: []uint32{7}}}}
		if err := p.receive(&speech{from: from}, report, epoch); err != nil {
			t.Fatal(err)
		}
		for _, after := range []time.Duration{silence - 1, silence, silence + calmPause - 1, silence + calmPause} {
			fresh := usage(p, plan.PodID{Namespace: "factory", Name: "p0"}, "", epoch.Add(after)).Fresh
			if want := after < patience(calm); fresh != want {
				t.Errorf("calm %v, %v after a report: fresh %v, want %v", calm, after, fresh, want)
			}
		}
	}
}
