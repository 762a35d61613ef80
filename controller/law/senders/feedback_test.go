package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

const (
	ms   = time.Millisecond
	mbit = bitrate.Mbit
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestFeedbackIsMeasured(t *testing.T) {
	s := []plan.Sender{{Pod: plan.PodID{Namespace: "office", Name: "a"}, Limit: 100 * mbit}}
	f := Feedback{Pending: []Limit{{Pod: s[0].Pod, Limit: 50 * mbit, At: t0}}}
	s[0].Rates = []plan.TxRate{{At: plan.At(t0.Add(100 * ms)), Tx: 100 * mbit}, {At: plan.At(t0.Add(200 * ms)), Tx: 80 * mbit}}
	f = f.Observe(s, t0.Add(250*ms))
	if len(f.Pending) != 1 || len(f.Delays) != 0 {
		t.Fatalf("no effect yet: %+v", f)
	}
	s[0].Rates = append(s[0].Rates, plan.TxRate{At: plan.At(t0.Add(300 * ms)), Tx: 50 * mbit})
	f = f.Observe(s, t0.Add(500*ms))
	if len(f.Pending) != 0 || len(f.Delays) != 1 || f.Delays[0] != 200*ms {
		t.Fatalf("the limit was in force when the last sub-window began: %+v", f)
	}
	if f.P95(300*ms) != 300*ms {
		t.Error("one measurement was believed")
	}
	if f.P95(150*ms) != 200*ms {
		t.Error("less is assumed than was seen")
	}
	f.Delays = append(f.Delays, 250*ms, 400*ms)
	if f.P95(300*ms) != 400*ms {
		t.Errorf("p95 %v", f.P95(300*ms))
	}
}
