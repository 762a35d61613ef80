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
