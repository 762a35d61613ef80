package controller

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Where more comes than is read or decided in time agents are asked for less, and for more
// again once there is room for it.
func TestOverloadIsDamped(t *testing.T) {
	const agents = 1000
	// spell is a time in which so many reports a second would come if nobody were asked
	// to wait, and so many turns in ten are late.
	type spell struct {
		counts, quick, late int
		want                time.Duration
	}
	for _, tt := range []struct {
		name   string
		spells []spell
	}{
		{"as much as there is room for", []spell{{20, quickReports, 0, 0}}},
		{"now and then a late turn", []spell{{20, 0, 3, 0}}},
		{"twice too many reports", []spell{{1, 2 * quickReports, 0, 0}, {20, 2 * quickReports, 0, 2 * Period}}},
		{"six times too many", []spell{{1, 6 * quickReports, 0, 0}, {1, 6 * quickReports, 0, 6 * Period}, {20, 6 * quickReports, 0, 6 * Period}}},
		{"more than ten times", []spell{{20, 30 * quickReports, 0, calmReports}}},
		{"it is over", []spell{{20, 10 * quickReports, 0, calmReports}, {4 * easeAfter, quickReports / 10, 0, 0}}},
		{"late for another cause", []spell{{20, 0, 8, calmReports}, {2 * easeAfter, 0, 1, calmReports}, {5 * easeAfter, 0, 0, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s strain
			now, reports := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0.0
			for i, x := range tt.spells {
				for range x.counts {
					for turn := range 10 {
						after := Period
						if turn < x.late {
							after++
						}
						s.turn(after)
					}
					now = now.Add(strainEvery)
					reports += strainEvery.Seconds() * (agents + float64(x.quick)*float64(Period)/float64(max(s.least, Period)))
					s.note(now, uint64(reports), agents)
				}
				if s.least != x.want {
					t.Errorf("spell %d: reports are %v apart at least, want %v", i, s.least, x.want)
				}
			}
		})
	}
}

// Where everybody has something to tell for long, agents are told once how often, not anew every
// few seconds. What an agent makes while it waits is one report in that time, and no calm one
// besides.
func TestLastingOverloadIsToldOnce(t *testing.T) {
	for _, agents := range []int{600, 1000, 2000, 4000} {
		var s strain
		now, reports, words := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0.0, 0
		for range 120 {
			for range 5 {
				s.turn(Period)
			}
			before := s.least
			now = now.Add(strainEvery)
			reports += strainEvery.Seconds() * float64(agents) / max(s.least, Period).Seconds()
			if s.note(now, uint64(reports), agents); s.least != before {
				words++
			}
		}
		if quick := float64(agents)/max(s.least, Period).Seconds() - float64(agents); words > 4 || s.least == 0 || quick > quickReports*5/4 {
			t.Errorf("%d agents: told %d times in a minute, in the end to report each %v", agents, words, s.least)
		}
	}
}

// Turns that are late for another cause do not keep few agents from reporting as always: their
// reports do not make a leader late.
func TestFewAgentsAreNotHeldBackForLateTurns(t *testing.T) {
	var s strain
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.note(now, 0, fewAgents)
	s.note(now.Add(strainEvery), 4096, fewAgents) // one of them has sent all that it may at once
	if s.least == 0 {
		t.Fatal("no strain")
	}
	for i := range 30 {
		s.turn(Period + 1)
		s.turn(Period)
		s.note(now.Add(time.Duration(i+2)*strainEvery), 4096, fewAgents)
	}
	if s.least != 0 {
		t.Errorf("their reports are %v apart at least for ever", s.least)
	}
}

// One turn that takes as long as several are counted together says enough.
func TestALongTurnIsStrain(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{strainEvery - 1: 0, strainEvery: 2 * Period} {
		var s strain
		s.note(now, 0, 0)
		s.turn(after)
		if s.note(now.Add(time.Second), 1000, 1000); s.least != want {
			t.Errorf("a turn that ends after %v: reports are %v apart at least, want %v", after, s.least, want)
		}
		var few strain
		few.note(now, 0, fewAgents)
		few.turn(after)
		if few.note(now.Add(time.Second), 1000, fewAgents); few.least != 0 {
			t.Errorf("the reports of a few agents are %v apart at least", few.least)
		}
	}
}

// wide is a snapshot of n nodes with an app and two agents each; everybody is measured by
// the next one.
func wide(n int) *term {
	t := &term{loop: &Loop{Measurements: &stage{}}, settings: &Settings{Law: searching{name: law.Adaptive}}, snapshot: &inventory.Snapshot{}}
	probe := func(i int) inventory.Agent {
		return inventory.Agent{UID: types.UID(fmt.Sprint("p", i%n)), Node: fmt.Sprint("n", i%n), Role: api.Role_ROLE_PROBE}
	}
	for i := range n {
		a := app(fmt.Sprint("app", i), workload.Enforce)
		a.Node = fmt.Sprint("n", i)
		t.snapshot.Apps = append(t.snapshot.Apps, a)
		t.snapshot.Agents = append(t.snapshot.Agents, probe(i), inventory.Agent{UID: types.UID(fmt.Sprint("n", i)), Node: a.Node, Role: api.Role_ROLE_NODE})
		t.paths = append(t.paths, &paths{sessions: []session{{id: a.Pod.Name, agent: probe(i + 1)}}})
	}
	return t
}

// A node of which more tell than are asked is told of for all that, and keeps no other from it.
func TestOneNodeOfManyAppsKeepsNoOtherFromBeingToldOf(t *testing.T) {
	m := wide(2 * mostBusy)
	for i := range m.paths {
		if i > 0 && i < mostBusy+10 { // apps of the first node, each measured by another
			m.snapshot.Apps[i].Node = "n0"
		}
	}
	reasons := []plan.Reason{
		{Bottleneck: plan.Uplink("n0"), Phase: plan.Cutting},
		{Bottleneck: plan.Uplink(fmt.Sprint("n", 2*mostBusy-2)), Phase: plan.Cutting},
		{Bottleneck: plan.Uplink(fmt.Sprint("n", 2*mostBusy-3)), Phase: plan.Settled},
	}
	m.pace([]outcome{{Plan: plan.Plan{Reasons: reasons}}}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	busy := m.loop.Measurements.(*stage).paced.Busy
	for _, agent := range []types.UID{"n0", types.UID(fmt.Sprint("n", 2*mostBusy-2)), types.UID(fmt.Sprint("n", 2*mostBusy-3))} {
		if !busy[agent] {
			t.Errorf("the agent of %s is not asked", agent)
		}
	}
	if len(busy) > mostBusy {
		t.Errorf("%d agents are asked, want %d at most", len(busy), mostBusy)
	}
}

// However many bottlenecks are decided about, a bounded number of agents reports each
// Period: those who tell of what is on its way, then those who did already.
func TestReportsAreSpentWhereTheyAreNeeded(t *testing.T) {
	const nodes = 2 * mostBusy
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := wide(nodes)
	s := m.loop.Measurements.(*stage)
	decide := func(phases map[int]plan.Phase) {
		p := plan.Plan{}
		for i := range nodes {
			phase := plan.Settled
			if at, other := phases[i]; other {
				phase = at
			}
			p.Reasons = append(p.Reasons, plan.Reason{Bottleneck: plan.Uplink(fmt.Sprint("n", i)), Phase: phase})
		}
		m.pace([]outcome{{Plan: p}}, now)
		now = now.Add(time.Second)
	}
	decide(nil)
	if n := len(s.paced.Busy); n > mostBusy || n < mostBusy*9/10 || s.paced.Calm != calmReports {
		t.Fatalf("%d agents report each period, the others each %v", n, s.paced.Calm)
	}
	before := maps.Clone(s.paced.Busy)
	last := nodes - 1
	decide(map[int]plan.Phase{last: plan.Cutting, last - 1: plan.Trying})
	for _, of := range []int{last, last - 1} {
		for _, uid := range []string{fmt.Sprint("n", of), fmt.Sprint("p", of), fmt.Sprint("p", (of+1)%nodes)} {
			if !s.paced.Busy[types.UID(uid)] {
				t.Errorf("%s does not report each period of a cut on its way", uid)
			}
		}
		if m.busy.ofNode(fmt.Sprint("n", of), now) != 0 {
			t.Error("what is told each period may be old")
		}
	}
	stay := 0
	for uid := range s.paced.Busy {
		if before[uid] {
			stay++
		}
	}
	if stay < len(s.paced.Busy)-8 || len(s.paced.Busy) > mostBusy {
		t.Errorf("of %d agents %d are those of before", len(s.paced.Busy), stay)
	}
	quiet := 0
	for i := range nodes {
		if m.busy.ofNode(fmt.Sprint("n", i), now) == calmReports {
			quiet++
		}
	}
	if quiet == 0 {
		t.Error("of those who report less often something new is expected as always")
	}
}

// Where all are to tell they share what is read in a second, and what they tell may be as
// old as that makes it.
func TestAllReportAsOftenAsIsRead(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		nodes  int
		strain time.Duration
		told   time.Duration
		want   time.Duration // that is waited for
	}{
		{mostBusy / 2, 0, Period, 0}, // no less often than always
		{mostBusy, 0, 2 * Period, 2 * Period},
		{mostBusy, 4 * Period, 4 * Period, 4 * Period},
		{100 * mostBusy, 0, calmReports, calmReports},
	} {
		m := wide(tt.nodes)
		m.strain.least = tt.strain
		m.pace([]outcome{{Plan: plan.Plan{Reasons: []plan.Reason{{Bottleneck: plan.Cluster, Phase: plan.Cutting}}}}}, now)
		paced := m.loop.Measurements.(*stage).paced
		if pause := m.busy.ofAgent("p0", now.Add(time.Minute)); paced.Calm != 0 || paced.Least != tt.told || pause != tt.want {
			t.Errorf("%d nodes, strained %v: asked for %v, %v, and %v more is waited for; want %v, %v", tt.nodes, tt.strain, paced.Calm, paced.Least, pause, tt.told, tt.want)
		}
	}
	m := wide(3)
	m.strain.least = 4 * Period
	m.pace(nil, now)
	m.strain.least = 0
	m.pace([]outcome{{Plan: plan.Plan{Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n0"), Phase: plan.Cutting}}}}}, now.Add(time.Minute))
	for after, want := range map[time.Duration]time.Duration{catchUp: 4 * Period, 4*Period + catchUp: 0} {
		if got := m.busy.ofAgent("p0", now.Add(time.Minute+after)); got != want {
			t.Errorf("%v after they were asked for more, %v more is waited for, want %v", after, got, want)
		}
	}
}

// A leader has its first round behind it when streams begin: they begin with the pace that
// came of it.
func TestStreamsBeginAfterTheFirstRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{snapshot: &inventory.Snapshot{Agents: []inventory.Agent{nodeAgent}, Senders: []*inventory.Sender{sender("telemetry", workload.Enforce)}}}
		run(t, s.loop(Settings{Law: searching{name: law.Adaptive, at: plan.Uplink("worker-1"), phase: plan.Open}}), time.Second)
		if !s.alone || len(s.assigned) != 1 {
			t.Errorf("the pace came first: %v; %d agents are assigned, want 1", s.alone, len(s.assigned))
		}
	})
}
