package law

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// beside lets some time pass from now, in which the app's node sessions get samples of a delay
// above a base of 0.2 ms, 20 ms apart.
func beside(app *plan.App, now time.Time, pass, above time.Duration) {
	for k := range app.NodeSessions {
		w := &app.NodeSessions[k]
		n := len(w.Samples)
		for j := pass / (20 * ms); j > 0; j-- {
			w.Samples = append(w.Samples[:n:n], plan.Sample{At: plan.At(now.Add(pass - j*20*ms)), RTT: 200*time.Microsecond + above + j%5*10*time.Microsecond})
			n++
		}
	}
}

// Whatever delays or loses the packets of the apps: where the agents beside them
// answer in time on the same paths, nothing is taken from anybody.
func TestCleanNodeSessionsClearTheNetwork(t *testing.T) {
	late := 0
	until(t, &late, func() { rapid.Check(t, func(t *rapid.T) { cleanBeside(t, &late) }) })
}

func cleanBeside(t *rapid.T, late *int) {
	l, s := newAdaptive(t), drawScene(t)
	for i := range s.apps {
		for k, session := range s.apps[i].Sessions {
			s.apps[i].NodeSessions = append(s.apps[i].NodeSessions, plan.Session{ID: fmt.Sprint("agent", k), Vantage: session.Vantage})
		}
	}
	var state State
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		for i := range s.apps {
			beside(&s.apps[i], s.now, s.pace, 0)
		}
		o := s.advance(t)
		next, p := l.Step(state, o)
		for _, r := range p.Reasons {
			if r.Action == plan.Cut {
				t.Fatalf("cut although every node session is clean: %+v", r)
			}
			if r.Cause == plan.NotNetwork {
				*late++
			}
		}
		s.apply(p)
		state = next
	}
}

func newAdaptive(t *rapid.T) Law {
	l, err := New(Adaptive, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The stage's app with one node session: late packets of the app alone are told as
// such at once; those of both are a queue; a node session that is gone or looks from
// elsewhere has no say.
func TestNodeSession(t *testing.T) {
	tests := map[string]struct {
		vantage string
		above   time.Duration // of the node session; −1: blind
		cut     bool
		cause   plan.Cause
	}{
		"clean":     {"n2", 0, false, plan.NotNetwork},
		"late":      {"n2", 40 * ms, true, ""},
		"blind":     {"n2", -1, true, ""},
		"elsewhere": {"n3", 0, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, workload.SLO{Jitter: ms}, bitrate.Gbit, bitrate.Gbit)
			app := &s.o.Apps[0]
			app.NodeSessions = []plan.Session{{ID: "agent", Vantage: tt.vantage}}
			step := func(above time.Duration) {
				if above >= 0 {
					beside(app, s.o.At, 250*ms, above)
				}
				s.run(250 * ms)
			}
			for range 8 {
				step(min(tt.above, 0))
			}
			s.delay = 40 * ms
			for range 2 {
				step(tt.above)
			}
			if cut := s.writes > 0; cut != tt.cut {
				t.Errorf("cut %v, want %v: %+v", cut, tt.cut, s.reason())
			}
			if tt.cause != "" && (s.reason().Cause != tt.cause || s.reason().Measured < 30*ms) {
				t.Errorf("reason %+v, want %v and what the app suffers", s.reason(), tt.cause)
			}
		})
	}
}

// An app that takes its time to answer has a long path, not a queue: the node session
// tells at once what took a test cut without it.
func TestANodeSessionTellsALongPathFromAQueue(t *testing.T) {
	s := newStage(t, workload.SLO{Jitter: ms}, bitrate.Gbit)
	app := &s.o.Apps[0]
	app.NodeSessions = []plan.Session{{ID: "agent", Vantage: "n2"}}
	s.delay = 20 * ms
	for range 20 {
		beside(app, s.o.At, 250*ms, 0)
		s.run(250 * ms)
	}
	if s.writes > 0 {
		t.Errorf("%d writes", s.writes)
	}
	if r := s.reason(); r.Cause == plan.NotNetwork || r.Measured > ms {
		t.Errorf("the base of the path was not learned: %+v", r)
	}
}
