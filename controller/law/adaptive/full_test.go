package adaptive

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// More that was given out makes an uplink one that apps may be late by, for a while.
func TestAnUplinkMayBeFullWhileMoreIsTried(t *testing.T) {
	now, b := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), plan.Uplink("n1")
	for _, tt := range []struct {
		phase plan.Phase
		ago   time.Duration
		want  bool
	}{
		{plan.Settled, shows / 2, true},
		{plan.Settled, 2 * shows, false},
		{plan.Trying, 2 * shows, true},
		{plan.Trying, 2 * fits, false},
	} {
		s := State{Budgets: []budget.Budget{{Bottleneck: b, Phase: tt.phase, Search: budget.Search{Raised: now.Add(-tt.ago)}}}}
		if got := s.full(sense.View{Observation: plan.Observation{At: now}})(b, &plan.App{Node: "n2"}); got != tt.want {
			t.Errorf("%s, raised %v ago: may be full %v, want %v", tt.phase, tt.ago, got, tt.want)
		}
	}
}
