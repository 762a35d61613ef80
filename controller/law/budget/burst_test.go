package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// What sockets had waiting as limits were raised makes a queue that is there at once and
// leaves: nobody is cut for it, and it is remembered. A queue that goes on growing, and
// one before another limiter, is of too much.
func TestABurstOfSocketsIsNotCutFor(t *testing.T) {
	leaves, grows := func(i int) time.Duration { return time.Duration(11-i) * ms }, func(i int) time.Duration { return time.Duration(i+1) * ms }
	for name, tt := range map[string]struct {
		sockets bool
		ago     time.Duration // of the raise
		above   func(i int) time.Duration
		burst   bool
	}{
		"a queue that leaves":                       {true, 300 * ms, leaves, true},
		"one that grows":                            {true, 300 * ms, grows, false},
		"one long after the raise":                  {true, 700 * ms, leaves, false},
		"one that leaves, before another's limiter": {false, 300 * ms, leaves, false},
	} {
		session := plan.Session{Base: plan.Base{Known: true}}
		for i := range 10 {
			session.Samples = append(session.Samples, plan.Sample{At: plan.At(t0.Add(time.Duration(i-10) * 20 * ms)), RTT: tt.above(i)})
		}
		b := fine()
		b.Search.Raised = t0.Add(-tt.ago)
		v := sense.Verdict{Standing: true, Allow: ms, Soft: ms / 2}
		v.Worst = sense.Reading{Recent: 5 * ms}
		turn := Turn{
			Config: config, Now: t0, Feedback: 100 * ms, Opinion: &Opinion{Verdict: v}, Paths: []*plan.Session{&session},
			Load: Load{Peak: b.Total, Limits: b.Total, Bound: true, More: true, Room: true, Sockets: tt.sockets},
		}
		if r := turn.Decide(&b); (r.Action == plan.Hold) != tt.burst || b.Link.Bursts(t0) != tt.burst {
			t.Errorf("%s: %s, remembered: %v", name, r.Action, b.Link.Bursts(t0))
		}
		if b.Link.Bursts(t0.Add(burstMemory)) {
			t.Errorf("%s: never forgotten", name)
		}
	}
}
