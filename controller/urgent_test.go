package controller

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// counting is a law that notes when it is asked.
type counting struct {
	name string
	at   *[]time.Time
}

func (c counting) Name() string { return c.name }

func (c counting) Step(s law.State, o sense.View) (law.State, plan.Plan) {
	*c.at = append(*c.at, o.At)
	return s, plan.Plan{At: o.At}
}

func decidedAt(t *testing.T, urgently func(ctx context.Context, urgent chan<- struct{})) []time.Duration {
	var at []time.Time
	var since []time.Duration
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &stage{
			snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}},
			urgent:   make(chan struct{}, 1),
		}
		go urgently(t.Context(), s.urgent)
		run(t, s.loop(Settings{Law: counting{name: law.Adaptive, at: &at}}), time.Second)
		for _, a := range at {
			since = append(since, a.Sub(begun))
		}
	})
	return since
}

// A report that came before its time is decided on at once.
func TestUrgentReportsAreDecidedOnAtOnce(t *testing.T) {
	const when = 430 * time.Millisecond
	early := false
	for _, d := range decidedAt(t, func(_ context.Context, urgent chan<- struct{}) {
		time.Sleep(when)
		urgent <- struct{}{}
	}) {
		early = early || d == when
	}
	if !early {
		t.Error("nothing was decided when the urgent report came")
	}
}

// However many come, there is one decision each leastPeriod.
func TestUrgentReportsAreBounded(t *testing.T) {
	times := decidedAt(t, func(ctx context.Context, urgent chan<- struct{}) {
		for ctx.Err() == nil {
			select {
			case urgent <- struct{}{}:
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	for i := 1; i < len(times); i++ {
		// A regular one may follow an early one sooner.
		if d := times[i] - times[i-1]; d < leastPeriod && times[i]%Period != 0 {
			t.Errorf("an early decision %v after the one before", d)
		}
	}
	if most := int(time.Second/leastPeriod + time.Second/Period); len(times) > most || len(times) < 40 {
		t.Errorf("%d decisions in a second, want some fifty", len(times))
	}
}

// Sessions carry what they are allowed, the strictest where they are shared; the
// laws of the original ask for nothing.
func TestSessionsCarryTheirAllowance(t *testing.T) {
	strict, lax := app("strict", workload.Enforce), app("lax", workload.Enforce)
	for _, a := range []*inventory.App{strict, lax} {
		a.Node, a.NodeReflects = "1", true
	}
	lax.SLO.Jitter, lax.SLO.Latency = 5*time.Millisecond, 20*time.Millisecond
	own := app("own", workload.Enforce)
	own.Node = "1"
	s := &inventory.Snapshot{
		Agents: []inventory.Agent{
			{UID: "1", Role: api.Role_ROLE_PROBE, Node: "1", IP: "10.1.0.1", STAMP: 862},
			{UID: "2", Role: api.Role_ROLE_PROBE, Node: "2", IP: "10.1.0.2", STAMP: 862},
		},
		Apps: []*inventory.App{lax, own, strict},
	}
	for _, early := range []bool{true, false} {
		assignments, perApp := place(s, 1, early)
		byID := map[string]*api.Session{}
		for _, a := range assignments {
			for _, session := range a.Sessions {
				byID[session.Id] = session
			}
		}
		shared, alone := byID[perApp[strict.Pod].sessions[0].id], byID[perApp[own.Pod].sessions[0].id]
		if !early {
			if shared.LateAboveUs != 0 || shared.LateRttUs != 0 || alone.NodeSession != "" {
				t.Errorf("early reports that nobody asked for: %v, %v", shared, alone)
			}
			continue
		}
		if shared.LateAboveUs != 1000 || shared.LateRttUs != 20_000 {
			t.Errorf("shared by apps with 1 ms and 5 ms: allowed %d µs and %d µs", shared.LateAboveUs, shared.LateRttUs)
		}
		if alone.LateAboveUs != 1000 || alone.NodeSession != perApp[own.Pod].nodeSessions[0].id {
			t.Errorf("allowed %d µs with node session %q", alone.LateAboveUs, alone.NodeSession)
		}
	}
}

// Who does not certainly lead decides nothing and sends nothing, on either road.
func TestWithoutTheLeadNothingIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &stage{
			snapshot: &inventory.Snapshot{Agents: []inventory.Agent{nodeAgent}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}},
			held:     map[string]agents.Held{"telemetry": {Rate: 100 * mbit, At: begun.Add(time.Hour)}},
		}
		var at []time.Time
		l := numbered(s, Settings{Law: counting{name: law.Adaptive, at: &at}})
		l.Leads = func() bool { return time.Since(begun) < 450*time.Millisecond }
		run(t, l, 2*time.Second)
		if n := len(at); n != 5 {
			t.Errorf("%d decisions while it led for 450 ms, want 5", n)
		}
		told, written := s.told["worker-1"], len(s.submitted)
		step := &term{loop: l, snapshot: s.snapshot, roads: roads{term: 7}}
		step.limit([]actuate.Change{changeOf(s.snapshot.Senders[0], plan.Limit{Pod: s.snapshot.Senders[0].Pod, From: 100 * mbit, To: 50 * mbit})}, time.Now())
		if len(s.submitted) != written || !slices.Equal(s.told["worker-1"], told) {
			t.Error("what was decided while the lead was lost was sent")
		}
	})
}

// While the API server is away limits go on to move, where somebody takes them from
// the stream, and nowhere else; what is to be recorded waits.
func TestWithoutTheAPIServerLimitsMove(t *testing.T) {
	for _, taken := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			s := &stage{snapshot: &inventory.Snapshot{Agents: []inventory.Agent{nodeAgent}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}}}
			if taken {
				s.held = map[string]agents.Held{"telemetry": {Rate: 100 * mbit, At: begun.Add(time.Hour)}}
			}
			var at []time.Time
			l := numbered(s, Settings{Law: counting{name: law.Adaptive, at: &at}})
			l.Leads = func() bool { return time.Since(begun) < 450*time.Millisecond }
			l.Speaks = func() bool { return time.Since(begun) < 1450*time.Millisecond } // then a later leader is known
			run(t, l, 2*time.Second)
			want := 5
			if taken {
				want = 15
			}
			if len(at) != want {
				t.Errorf("taken from the stream %v: %d decisions, want %d", taken, len(at), want)
			}
		})
	}
}
