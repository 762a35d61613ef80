package status

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

var now = time.Unix(1_800_000_000, 0)

// every makes samples 20 ms apart, the newest 20 ms old.
func every(n int, make func(i int) plan.Sample) []plan.Sample {
	samples := []plan.Sample{}
	for i := range n {
		s := make(i)
		s.At = now.Add(-time.Duration(n-i) * 20 * time.Millisecond)
		samples = append(samples, s)
	}
	return samples
}

func TestMeasure(t *testing.T) {
	const ms = time.Millisecond
	steady := func(int) plan.Sample { return plan.Sample{RTT: ms} }
	tenthSlow := func(i int) plan.Sample {
		if i%10 == 0 {
			return plan.Sample{RTT: 9 * ms}
		}
		return plan.Sample{RTT: ms}
	}
	fifthSlow := func(i int) plan.Sample { return plan.Sample{RTT: ms + 4*ms*time.Duration(max(0, 1-i%5))} }
	lost := func(int) plan.Sample { return plan.Sample{Lost: true} }
	for _, tt := range []struct {
		name    string
		samples []plan.Sample
		want    Measures
		n       int
		blind   bool
	}{
		{"nothing", nil, Measures{}, 0, true},
		{"steady", every(100, steady), Measures{JitterMs: 0.5, LatencyMs: 1}, 50, false},
		{"a tenth slow is beyond p90", every(100, tenthSlow), Measures{JitterMs: 0.5, LatencyMs: 1}, 50, false},
		{"a fifth slow is not", every(100, fifthSlow), Measures{JitterMs: 4.5, LatencyMs: 5}, 50, false},
		{"all lost is seen, not blind", every(100, lost), Measures{Loss: 1}, 0, false},
	} {
		got, n, blind := Measure(tt.samples, ms/2, now)
		if got != tt.want || n != tt.n || blind != tt.blind {
			t.Errorf("%s: %+v, %d, blind %v; want %+v, %d, %v", tt.name, got, n, blind, tt.want, tt.n, tt.blind)
		}
	}
	if _, _, blind := Measure(every(100, steady), 0, now.Add(3*time.Second)); !blind {
		t.Error("samples of three seconds ago count as sight")
	}
}

func TestViolationRatio(t *testing.T) {
	const ms = time.Millisecond
	samples := []plan.Sample{{RTT: ms}, {RTT: 3 * ms}, {RTT: 12 * ms}, {Lost: true}}
	for _, tt := range []struct {
		slo  workload.SLO
		want int
	}{
		{workload.SLO{Jitter: ms}, 3},
		{workload.SLO{Jitter: 5 * ms}, 2},
		{workload.SLO{Latency: 10 * ms}, 2},
		{workload.SLO{Loss: 0.01}, 1},
	} {
		if got, all := ViolationRatio(samples, ms, tt.slo); got != tt.want || all != 4 {
			t.Errorf("%+v: %d of %d, want %d of 4", tt.slo, got, all, tt.want)
		}
	}
}
