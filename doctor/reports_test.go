package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/status"
)

// An agent that hangs while its pod is ready is named, since when and why.
func TestSilentAgentsAreNamed(t *testing.T) {
	s := &status.Status{Agents: []status.Agent{
		{Pod: "detnet/probe-1", Node: "worker-1", Role: "probe", Connected: true},
		{Pod: "detnet/probe-2", Node: "worker-2", Role: "probe", Since: time.Unix(0, 0), Why: "no report for 2s"},
	}}
	if problem, advice := reporting(s, "detnet"); problem != "probe agent detnet/probe-2 on worker-2 does not report since 1970-01-01T00:00:00Z: no report for 2s" || advice == "" {
		t.Errorf("problem %q, advice %q", problem, advice)
	}
	s.Agents = s.Agents[:1]
	if problem, _ := reporting(s, "detnet"); problem != "" {
		t.Errorf("problem %q, want none", problem)
	}
	s.Agents = nil
	if problem, _ := reporting(s, "detnet"); !strings.Contains(problem, "no agent") {
		t.Errorf("problem %q of no agents at all", problem)
	}
}

// Of whom a node's agent, which reports, does not tell what it sends is named.
func TestWhoIsNotCountedIsNamed(t *testing.T) {
	s := &status.Status{
		Agents:  []status.Agent{{Node: "n1", Role: "node", Connected: true}, {Node: "n2", Role: "node"}, {Node: "n2", Role: "probe", Connected: true}},
		Senders: []status.Sender{{Pod: "office/backup", Node: "n1"}, {Pod: "office/sync", Node: "n1", Known: true}, {Pod: "office/mail", Node: "n2"}},
	}
	if notes := uncounted(s); len(notes) != 1 || !strings.HasSuffix(notes[0], "do not follow it: office/backup") {
		t.Errorf("%q", notes)
	}
	s.Senders[0].Known = true
	if notes := uncounted(s); notes != nil {
		t.Errorf("%q although all are counted", notes)
	}
}
