package blame

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// What two apps of a node see of its queues by the same node session is seen once.
func TestANodeSessionIsMeasuredByOnce(t *testing.T) {
	session := func(id, vantage string) plan.Session {
		return plan.Session{ID: id, Vantage: vantage, Samples: []plan.Sample{{At: plan.At(t0), RTT: time.Millisecond}}}
	}
	app := func(name string) plan.App {
		a := plan.App{Pod: plan.PodID{Namespace: "factory", Name: name}, Node: "n1"}
		a.SLO.Jitter = time.Millisecond
		a.Sessions = []plan.Session{session(name+" from n2", "n2"), session(name+" from n3", "n3")}
		a.NodeSessions = []plan.Session{session("n1 from n2", "n2"), session("n1 from n3", "n3")}
		return a
	}
	l := Look{Diagnoses: make([]Diagnosis, 2)}
	l.view.Observation = plan.Observation{At: t0, Apps: []plan.App{app("robot"), app("scanner")}}
	l.view.Verdicts = make([]sense.Verdict, 2)
	var got []string
	for _, s := range l.Paths(Place{Bottleneck: plan.Uplink("n1"), apps: []int32{0, 1}}) {
		got = append(got, s.ID)
	}
	if want := []string{"n1 from n2", "n1 from n3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// For how long an app was let be counts for the next time only for as long again.
func TestABackoffIsForgottenOnceItIsLongOver(t *testing.T) {
	for ago, want := range map[time.Duration]time.Duration{59 * time.Second: time.Minute, 61 * time.Second: 0} {
		known := Diagnosis{App: plan.PodID{Namespace: "factory", Name: "a"}, Bottleneck: plan.Uplink("n1"), RetryAt: time.Unix(0, 0).Add(-ago), Backoff: time.Minute}
		if s := after([]Diagnosis{known}, seen("a", "n1", "v1", "v2", 0), all("n1")); s.Backoff != want {
			t.Errorf("%v after it was over the backoff is %v, want %v", ago, s.Backoff, want)
		}
	}
}
