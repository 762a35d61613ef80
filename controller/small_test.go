package controller

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Nobody is told of small tries, which come every few seconds; of what stays of one, everybody is.
func TestSmallTriesAreNotTold(t *testing.T) {
	var d decided
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := func(from, to float64, tried bool) []plan.Limit {
		return []plan.Limit{{Pod: plan.PodID{Namespace: "a", Name: "b"}, From: bitrate.FromMbit(from), To: bitrate.FromMbit(to), Tried: tried}}
	}
	for _, step := range []struct {
		what     string
		from, to float64
		tried    bool
		told     bool
	}{
		{"a cut", 100, 48, false, true},
		{"a try", 48, 48.5, true, false},
		{"a little more", 48.5, 49, true, false},
		{"its end", 49, 48, false, false},
		{"another try", 48, 48.5, true, false},
		{"a raise, since more goes through", 48.5, 50, false, true},
		{"a try", 50, 50.5, true, false},
		{"a cut", 50.5, 40, false, true},
	} {
		now = now.Add(20 * time.Second)
		if told := len(d.fresh(limit(step.from, step.to, step.tried), now)) > 0; told != step.told {
			t.Errorf("%s: told %v, want %v", step.what, told, step.told)
		}
	}
	if len(d.tried) != 0 {
		t.Errorf("%d tries are remembered when none is out", len(d.tried))
	}
}
