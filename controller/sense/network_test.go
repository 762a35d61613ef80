package sense

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// A cut is judged by what was sent after it, and the node session of a busy host tells of that
// later than the app's late packets do: it is waited for, as long as it answers at all.
func TestANodeSessionIsWaitedForAfterACut(t *testing.T) {
	for _, tt := range []struct {
		name    string
		beside  time.Duration // its newest answer before now
		late    bool          // it says so as well
		blind   bool
		trouble bool
	}{
		{"tells of before", 120 * ms, false, true, false},
		{"tells of now", 0, false, false, false},
		{"is late too", 0, true, false, true},
		{"is silent", time.Second, false, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := t0.Add(2 * time.Second)
			since := now.Add(-120 * ms)
			session := func(id string, until time.Time, late bool) plan.Session {
				s := plan.Session{ID: id, Vantage: "n2", Base: plan.Base{Delay: 300 * us, Known: true}}
				for at := t0; !at.After(until); at = at.Add(10 * ms) {
					x := plan.Sample{At: at.Add(-20 * ms), RTT: 320 * us}
					if late && x.At.After(since) {
						x.RTT = 15 * ms
					}
					s.Samples = append(s.Samples, x)
				}
				return s
			}
			app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
			app.Sessions = []plan.Session{session("app", now, true)}
			app.NodeSessions = []plan.Session{session("agent", now.Add(-tt.beside), tt.late)}
			v := DefaultConfig().Judge(app, since, now)
			if v.Blind != tt.blind || v.Trouble() != tt.trouble {
				t.Errorf("blind %v, in trouble %v, want %v and %v: %+v", v.Blind, v.Trouble(), tt.blind, tt.trouble, v)
			}
		})
	}
}
