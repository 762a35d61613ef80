package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/workload"

	"github.com/detnet/detnet/policies"
)

func TestReloadIsRefusedWhereARecordedPodFails(t *testing.T) {
	active := NewActive(mustLoad(t, nil), time.Now(), prometheus.NewRegistry())
	in := podInput(t, map[string]string{workload.LabelPriority: "best-effort", "team": "b"})
	if _, err := active.Decide(far(t), in); err != nil {
		t.Fatal(err)
	}
	// It compiles, and fails on this cluster's pods only.
	bad := policies.Set{"site.rego": "package detnet.site\nlabels.team := concat(\" \", [\"no\", \"spaces\"]) if input.pod.metadata.labels.team == \"b\""}.Over(policies.Default())
	_, _, err := active.reload(far(t), bad, time.Now())
	if !errors.Is(err, policies.ErrPolicy) || !strings.Contains(err.Error(), "shop/p-") {
		t.Errorf("error %v, want one that names the pod", err)
	}
	slow := policies.Set{"site.rego": strings.Replace(endless, "if {", "if {\n\tinput.pod.metadata.labels.team == \"b\"", 1)}.Over(policies.Default())
	if _, _, err := active.reload(t.Context(), slow, time.Now()); !errors.Is(err, policies.ErrSlow) || !strings.Contains(err.Error(), "shop/p-") {
		t.Errorf("error %v, want one that names the pod and says that it took too long", err)
	}
	good := policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {max: 500M}}}"}.Over(policies.Default())
	changed, of, err := active.reload(far(t), good, time.Now())
	if err != nil || changed != 1 || of != 1 {
		t.Errorf("%d of %d changed, error %v; want 1 of 1", changed, of, err)
	}
}

func TestRecentIsBounded(t *testing.T) {
	var r recent
	for n := range 3 * maxRecent {
		r.record(policies.Input{Pod: policies.Object{"metadata": map[string]any{"name": fmt.Sprint(n)}}})
	}
	r.record(policies.Input{Pod: policies.Object{"metadata": map[string]any{"name": strings.Repeat("x", maxRecentSize)}}})
	if len(r.ring) != maxRecent || len(r.index) != maxRecent || r.all()[maxRecent-1].Source != fmt.Sprint("/", 3*maxRecent-1) {
		t.Errorf("%d pods, %d names, last %s", len(r.ring), len(r.index), r.all()[maxRecent-1].Source)
	}
}
