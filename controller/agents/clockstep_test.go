package agents

import (
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/internal/clockstep"
)

// What was measured before the controller's wall clock was set stays as old as it is,
// and what comes after it is younger. An agent's own clock is in no report.
func TestASetClockMakesNothingOlder(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		p, from, _ := counting(1)
		now := time.Now()
		said := &speech{from: from}
		report := &api.Report{
			TakesLimits: true, Named: names(1), Usage: []*api.Usage{{Pods: []uint32{1}, TxKbps: []uint32{7}}},
			Sessions: []*api.SessionReport{{Id: "s0", AgeNs: []int64{20e6, 0}, RttNs: []int64{1, 1}}},
		}
		for i := range 10 {
			now = now.Add(100 * time.Millisecond)
			if i == 5 {
				now = clockstep.Set(now, by)
			}
			if err := p.receive(said, report, now); err != nil {
				t.Fatal(err)
			}
		}
		pod := plan.PodID{Namespace: "factory", Name: "p0"}
		samples, rates := p.Session("s0", now).Samples, usage(p, pod, "", now).Rates
		if len(samples) != 20 || len(rates) != 10 || now.Sub(samples[0].At.Time()) != 920*time.Millisecond || now.Sub(rates[0].At.Time()) != 900*time.Millisecond {
			t.Errorf("set by %v: %d samples and %d rates, the oldest %v", by, len(samples), len(rates), samples[:1])
		}
		inOrder(t, p)
		if !usage(p, pod, "", now.Add(silence-time.Millisecond)).Fresh {
			t.Errorf("set by %v: a limit that was just told is old", by)
		}
		if usage(p, pod, "", now.Add(silence)).Fresh {
			t.Errorf("set by %v: a limit that was told long ago is fresh", by)
		}
		if got := len(p.Session("s0", now.Add(keep+time.Second)).Samples); got != 0 {
			t.Errorf("set by %v: %d samples are kept for longer than %v", by, got, keep)
		}
	}
}
