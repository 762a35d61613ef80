package restore

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/detnet/detnet/controller/actuate/actuatetest"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// One pod that refuses or has gone does not keep the others from being restored.
func TestApplyGoesOn(t *testing.T) {
	fake := &actuatetest.Fake{}
	fake.Before = func(p plan.PodID) error {
		if p.Name == "refused" {
			return errors.New("admission webhook denied the request")
		}
		return nil
	}
	var changes []Change
	for _, name := range []string{"refused", "gone", "fine"} {
		id := plan.PodID{Namespace: "factory", Name: name}
		uid := fake.Create(t, id, map[string]string{workload.EgressBandwidth: "20M"})
		changes = append(changes, Change{id, uid, "20M", "100M"})
	}
	fake.Delete(t, changes[1].Pod)

	var done []string
	err := Apply(t.Context(), fake, changes, func(c Change) { done = append(done, c.Pod.Name) })
	if !slices.Equal(done, []string{"fine"}) {
		t.Errorf("restored %v, want fine", done)
	}
	if err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "gone") {
		t.Errorf("error = %v, want one about the refused pod alone", err)
	}
	if got := fake.Annotations(t, changes[2].Pod)[workload.EgressBandwidth]; got != "100M" {
		t.Errorf("limit = %s, want 100M", got)
	}
}
