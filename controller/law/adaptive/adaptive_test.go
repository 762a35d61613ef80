package adaptive

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

const mbit = bitrate.Mbit

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A sender behind two bottlenecks is raised only if neither is in trouble.
func TestASenderIsNotRaisedWhileOneOfItsBottlenecksIsInTrouble(t *testing.T) {
	for _, tt := range []struct {
		cluster plan.Cause
		want    int
	}{{plan.Calm, 1}, {plan.Violation, 0}, {plan.AwaitEffect, 0}, {plan.Blind, 0}, {plan.NotNetwork, 0}} {
		x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Weight: 1, Min: 10 * mbit, Max: 1000 * mbit, Limit: 50 * mbit}
		x.Rates = []plan.TxRate{{At: plan.At(t0), Tx: 50 * mbit}}
		uplink := group{members: []int32{0}, senders: []*plan.Sender{&x}, load: budget.Load{Limits: x.Limit}}
		cluster, known := uplink, budget.Link{Known: true}
		uplink.to = []bitrate.Rate{80 * mbit}
		cluster.at, cluster.to = 1, []bitrate.Rate{90 * mbit}
		r := round{
			config: DefaultConfig(), view: sense.View{Observation: plan.Observation{At: t0, Senders: []plan.Sender{x}}},
			state:  &State{Budgets: []budget.Budget{{Total: 80 * mbit, Link: known}, {Total: 90 * mbit, Link: known}}, Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}},
			groups: []group{uplink, cluster},
			plan: plan.Plan{Reasons: []plan.Reason{
				{Bottleneck: plan.Uplink("n1"), Action: plan.Grow, Cause: plan.Calm},
				{Bottleneck: plan.Cluster, Action: plan.Hold, Cause: tt.cluster},
			}},
		}
		r.limits()
		if got := len(r.plan.Limits); got != tt.want {
			t.Errorf("with the cluster in %q: %d limits changed, want %d", tt.cluster, got, tt.want)
		}
	}
}

// With less than a write a second a limit still has its turn at being low: who waits for
// one that never comes is never raised.
func TestATurnAtBeingLowComesAtAnyRateOfWrites(t *testing.T) {
	x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 50 * mbit, Limiter: plan.EDT}
	r := round{config: DefaultConfig(), view: sense.View{Observation: plan.Observation{At: t0, Senders: []plan.Sender{x}}}}
	r.config.Writes = 0.5
	r.state = &State{Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
	wishes := []wish{{to: 80 * mbit}}
	if r.turns(wishes); wishes[0].crowded {
		t.Error("one limit is too many at a time")
	}
}

// What is given back was let through before, so that no room has to be made for it: only a
// cut and a raise go by way of a low limit.
func TestALimitThatIsGivenBackIsNotLowFirst(t *testing.T) {
	x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 50 * mbit, Limiter: plan.EDT}
	r := round{config: DefaultConfig(), view: sense.View{Observation: plan.Observation{At: t0, Senders: []plan.Sender{x}}}}
	r.state = &State{Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
	if got := r.next(0, &wish{to: 1000 * mbit, restore: true}); got != 1000*mbit || len(r.flushed) > 0 {
		t.Errorf("given back by way of %v", got)
	}
	if got := r.next(0, &wish{to: 80 * mbit}); got != senders.Low(x.Limit) || len(r.flushed) != 1 {
		t.Errorf("raised to %v at first, want %v", got, senders.Low(x.Limit))
	}
}

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
	r := round{config: DefaultConfig(), state: &State{Diagnoses: make([]blame.Diagnosis, 2)}}
	r.view.Observation = plan.Observation{At: t0, Apps: []plan.App{app("robot"), app("scanner")}}
	r.view.Verdicts = make([]sense.Verdict, 2)
	var got []string
	for _, s := range r.paths(plan.Uplink("n1"), []int32{0, 1}) {
		got = append(got, s.ID)
	}
	if want := []string{"n1 from n2", "n1 from n3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
