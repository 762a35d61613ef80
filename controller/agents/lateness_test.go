package agents

import (
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/plan"
)

// A decision is worth what may be judged late, and the first that is known of a path;
// what is well below that waits for the next round.
func TestWhatIsWorthADecision(t *testing.T) {
	const us = time.Microsecond
	trips := func(all ...time.Duration) (batch []plan.Sample) {
		for _, rtt := range all {
			batch = append(batch, plan.Sample{RTT: rtt, Lost: rtt == 0})
		}
		return batch
	}
	jitter, latency := &api.Session{LateAboveUs: 1000}, &api.Session{LateRttUs: 1200}
	for _, tt := range []struct {
		name  string
		of    *api.Session
		batch []plan.Sample
		after time.Duration
		want  bool
	}{
		{"as before", jitter, trips(200*us, 230*us), 0, false},
		{"a little late", jitter, trips(200*us, 650*us), 0, false},
		{"late by more than half of its allowance", jitter, trips(200*us, 750*us), 0, true},
		{"lost", jitter, trips(200*us, 0), 0, true},
		{"nothing", jitter, nil, 0, false},
		{"latency: a little late", latency, trips(600 * us), 0, false},
		{"latency: late by more than half of what is left", latency, trips(750 * us), 0, true},
		{"a path that is longer than allowed", &api.Session{LateRttUs: 150}, trips(200 * us), 0, true},
		{"nobody asked for that", &api.Session{}, trips(time.Second), 0, false},
		{"what was less is not forgotten soon", jitter, trips(800 * us), leastSpan, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l lateness
			l.allow(tt.of)
			if l.notable(trips(0), 0.5, epoch) {
				t.Error("what was never answered is worth a decision")
			}
			for range enough {
				if !l.notable(trips(200*us), 0.5, epoch) {
					t.Error("one of the first is not worth a decision")
				}
			}
			if got := l.notable(tt.batch, 0.5, epoch.Add(tt.after)); got != tt.want {
				t.Errorf("worth a decision: %v, want %v", got, tt.want)
			}
		})
	}
	var l lateness
	l.allow(jitter)
	for range enough {
		l.notable(trips(200*us), 0.5, epoch)
	}
	for i := range 3 { // a route became longer
		l.notable(trips(time.Duration(200+700*min(i, 1))*us), 0.5, epoch.Add(time.Duration(i)*leastSpan))
	}
	if l.notable(trips(900*us), 0.5, epoch.Add(2*leastSpan)) {
		t.Error("a path that became longer stirs for ever")
	}
}
