package agents

import (
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
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

// A report that was left lying is not taken for news, and what it names is known.
func TestOldReportsAreNotReplayed(t *testing.T) {
	p, from, _ := counting(1)
	said := &speech{from: from}
	report := func(after time.Duration, named []*api.NamedPod) *api.Report {
		r := &api.Report{SentUs: uint64(after.Microseconds()) + 1, Named: named, Usage: []*api.Usage{{TxKbps: []uint32{5000}}}}
		if named != nil {
			r.Usage[0].Pods = []uint32{1}
		}
		s := &api.PackedSession{Number: 1}
		wire.Pack(s, []wire.Sample{{Age: time.Millisecond, RTT: 300 * time.Microsecond}})
		r.Packed = append(r.Packed, s)
		return r
	}
	kept := func() (int, int) {
		return len(p.sessions["s0"].samples.view(epoch.Add(10 * time.Second))), len(p.rates[plan.PodID{Namespace: "factory", Name: "p0"}].tx.view(epoch.Add(10 * time.Second)))
	}
	for _, x := range []struct {
		sent, read     time.Duration
		named          []*api.NamedPod
		samples, rates int
	}{
		{6 * time.Second, 6 * time.Second, nil, 1, 0},
		{6500 * time.Millisecond, 9 * time.Second, names(1), 1, 0},
		{8900 * time.Millisecond, 9 * time.Second, nil, 2, 1},
	} {
		r := report(x.sent, x.named)
		if x.rates == 0 && x.named == nil {
			r.Usage = nil
		}
		if err := p.receive(said, r, epoch.Add(x.read)); err != nil {
			t.Fatal(err)
		}
		if samples, rates := kept(); samples != x.samples || rates != x.rates {
			t.Errorf("sent after %v, read after %v: %d samples and %d windows are known, want %d and %d", x.sent, x.read, samples, rates, x.samples, x.rates)
		}
	}
}
