package sense

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// What an app says is not its word alone where the agent beside it sees every path that
// says anything: one that answers nothing, or too rarely to be counted, sees none.
func TestOnlyANodeSessionThatSeesVouches(t *testing.T) {
	now := t0.Add(2 * time.Second)
	from := func(node string, s plan.Session) plan.Session { s.Vantage = node; return s }
	app, agent := heard("app", now, late), heard("agent", now, all)
	for _, tt := range []struct {
		name         string
		apps, agents []plan.Session
		want         bool
	}{
		{"sees it", []plan.Session{app}, []plan.Session{agent}, true},
		{"there is none", []plan.Session{app}, nil, false},
		{"never answers", []plan.Session{app}, []plan.Session{heard("agent", now, lost)}, false},
		{"answers rarely", []plan.Session{app}, []plan.Session{heard("agent", now, rare)}, false},
		{"sees one path of two", []plan.Session{app, from("n3", app)}, []plan.Session{agent}, false},
		{"sees both", []plan.Session{app, from("n3", app)}, []plan.Session{agent, from("n3", agent)}, true},
		{"the other says nothing", []plan.Session{app, {ID: "blind", Vantage: "n3"}}, []plan.Session{agent}, true},
		{"the other never leaves the node", []plan.Session{app, from("n1", app)}, []plan.Session{agent}, true},
	} {
		x := &plan.App{Node: "n1", SLO: workload.SLO{Jitter: ms}, Sessions: tt.apps, NodeSessions: tt.agents}
		if got := DefaultConfig().Vouched(x, now); got != tt.want {
			t.Errorf("%s: vouched %v", tt.name, got)
		}
	}
}

// Where the agent answers in the app's place the app has no word, and costs nothing.
func TestWhoseNodeReflectsSaysNothingItself(t *testing.T) {
	now := t0.Add(2 * time.Second)
	x := &plan.App{Node: "n1", NodeReflects: true, SLO: workload.SLO{Jitter: ms}, Sessions: []plan.Session{heard("agent", now, late)}}
	if !DefaultConfig().Vouched(x, now) {
		t.Error("what the agent says is taken for the app's word")
	}
	if x.Sessions = []plan.Session{heard("agent", now.Add(-time.Second), late)}; DefaultConfig().Vouched(x, now) {
		t.Error("an agent that is silent vouches")
	}
}
