package live

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

func TestShadowCountsWhatWouldChange(t *testing.T) {
	defer goleak.VerifyNone(t)
	m := &mount{dir: t.TempDir()}
	m.put(t, policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {max: 500M}}}"})
	shadow := NewShadow(prometheus.NewRegistry())
	active := NewActive(mustLoad(t, nil), time.Now(), prometheus.NewRegistry()).WithShadow(shadow)
	ctx, cancel := context.WithCancel(far(t))
	done := make(chan error)
	refused := make(chan error, 10)
	go func() { done <- shadow.Run(ctx) }()
	go func() {
		done <- shadow.Follow(ctx, m.dir, quiet, func(err error) { refused <- err })
	}()
	defer func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}()
	await.Until(t, "a candidate", func() bool { return shadow.Status().Hash != "" })

	for _, priority := range []string{"best-effort", "best-effort", "critical", "none"} {
		if d, err := active.Decide(ctx, podInput(t, map[string]string{workload.LabelPriority: priority})); err != nil || d.Bandwidth.Max.String() == "500M" {
			t.Fatalf("decision %+v, %v: the candidate must have no effect", d, err)
		}
	}
	await.Until(t, "four comparisons", func() bool { return shadow.Status().Pods == 4 })
	got := active.Status().Shadow
	if got.Changed != 2 || got.Fields["bandwidth.max"] != 2 || got.Failed != 0 {
		t.Errorf("status %+v, want 2 of 4 changed in bandwidth.max", got)
	}
	if len(got.Examples) != 1 || got.Examples[0].Source != "shop/p-" || got.Examples[0].Changes[0].To != "500M" {
		t.Errorf("examples %+v, want one of the workload that would change", got.Examples)
	}

	m.put(t, policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {max: 500Mbit}}}"})
	if err := <-refused; err == nil {
		t.Error("no reason given")
	}
	if s := shadow.Status(); s.Hash != got.Hash || s.Pods != 4 || s.LastError == "" {
		t.Errorf("status %+v, want the last good candidate and what is wrong with the newest", s)
	}
	m.put(t, policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {max: 600M}}}"})
	await.Until(t, "the next candidate", func() bool { return shadow.Status().Hash != got.Hash })
	if s := shadow.Status(); s.Pods != 0 || s.LastError != "" || len(s.Examples) != 0 {
		t.Errorf("status %+v, want a new count", s)
	}
}

// A candidate that is no good from the start disturbs nothing.
func TestShadowWithoutACandidate(t *testing.T) {
	shadow := NewShadow(prometheus.NewRegistry())
	active := NewActive(mustLoad(t, nil), time.Now(), prometheus.NewRegistry()).WithShadow(shadow)
	shadow.take(t.Context(), policies.Set{"site.rego": "package"}, slog.New(slog.DiscardHandler), func(error) {}, "")
	mustDecide(t, active.Engine(), podInput(t, nil))
	if _, err := active.Decide(far(t), podInput(t, nil)); err != nil {
		t.Error(err)
	}
	if s := active.Status().Shadow; s.Pods != 0 || s.LastError == "" {
		t.Errorf("status %+v", s)
	}
}
