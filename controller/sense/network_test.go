package sense

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// heard is a path from n2, of packets each 10 ms until a time that are answered in 20 ms, of
// which told says each.
func heard(id string, until time.Time, told func(*plan.Sample) bool) plan.Session {
	s := plan.Session{ID: id, Vantage: "n2", Base: plan.Base{Delay: 300 * us, Known: true}}
	for at := t0; !at.After(until); at = at.Add(10 * ms) {
		if x := (plan.Sample{At: plan.At(at.Add(-20 * ms)), RTT: 320 * us}); told(&x) {
			s.Samples = append(s.Samples, x)
		}
	}
	return s
}

func all(*plan.Sample) bool     { return true }
func late(x *plan.Sample) bool  { x.RTT = 15 * ms; return true }
func lost(x *plan.Sample) bool  { *x = plan.Sample{At: x.At, Lost: true}; return true }
func rare(x *plan.Sample) bool  { return x.At.Time().Sub(t0)/(10*ms)%20 == 0 } // each 200 ms
func flaky(x *plan.Sample) bool { return rare(x) || lost(x) }                  // as rare, and all others are lost

// A cut is judged by what was sent after it, and the node session of a busy host tells of that
// later than the app's late packets do: it is waited for, but no longer than any session, and
// not where it never tells enough.
func TestANodeSessionIsWaitedForAfterACut(t *testing.T) {
	now := t0.Add(2 * time.Second)
	for _, tt := range []struct {
		name    string
		cut     time.Duration // before now; 0: none
		beside  time.Duration // the node session's newest answer before now
		told    func(*plan.Sample) bool
		blind   bool
		trouble bool
	}{
		{"tells of before", 120 * ms, 120 * ms, all, true, false},
		{"tells of now", 120 * ms, 0, all, false, false},
		{"is late too", 120 * ms, 0, late, false, true},
		{"is silent", 120 * ms, time.Second, all, false, true},
		{"is silent since a cut that is long ago", 620 * ms, 560 * ms, all, false, true},
		{"answers rarely", 120 * ms, 0, rare, false, true},
		{"answers rarely, and there was no cut", 0, 0, rare, false, true},
		{"answers rarely, and all else is lost", 0, 0, flaky, false, true},
		{"never answers", 0, 0, lost, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var since time.Time
			if tt.cut > 0 {
				since = now.Add(-tt.cut)
			}
			app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
			app.Sessions = []plan.Session{heard("app", now, late)}
			app.NodeSessions = []plan.Session{heard("agent", now.Add(-tt.beside), tt.told)}
			v := DefaultConfig().Judge(app, since, now)
			if v.Blind != tt.blind || v.Trouble() != tt.trouble {
				t.Errorf("blind %v, in trouble %v, want %v and %v: %+v", v.Blind, v.Trouble(), tt.blind, tt.trouble, v)
			}
		})
	}
}

// Packets that the app alone loses are not the network's, also while its node session has
// yet to tell of the time since a cut.
func TestLossIsWaitedForAsDelayIs(t *testing.T) {
	now := t0.Add(2 * time.Second)
	app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
	app.Sessions = []plan.Session{heard("app", now, lost)}
	app.Sessions[0].Samples[0] = plan.Sample{At: plan.At(t0.Add(-20 * ms)), RTT: 320 * us}
	app.NodeSessions = []plan.Session{heard("agent", now.Add(-120*ms), all)}
	if v := DefaultConfig().Judge(app, now.Add(-120*ms), now); v.Trouble() {
		t.Errorf("in trouble: %+v", v)
	}
}
