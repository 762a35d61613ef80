package webhook

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	schedulingv1 "k8s.io/api/scheduling/v1"
)

// having is a cluster with these PriorityClasses.
type having struct {
	Cluster
	classes atomic.Pointer[[]string]
}

func (h *having) Priorities(_ context.Context, name string) (Priorities, error) {
	if !slices.Contains(*h.classes.Load(), name) {
		return Priorities{}, nil
	}
	return Priorities{Wanted: &schedulingv1.PriorityClass{}}, nil
}

// What is missing is told once, at the start and when it changes, and again when it
// is gone another time.
func TestMissingPriorityClassesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &having{}
		cluster.classes.Store(&[]string{"detnet-critical"})
		told := make(chan string, 10)
		m := (&MissingPriorityClasses{
			Named:   func() []string { return []string{"detnet-critical", "gold", "silver"} },
			Cluster: cluster, Tell: func(err error) { told <- err.Error() }, Log: slog.New(slog.DiscardHandler),
		}).Register(prometheus.NewRegistry())
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = m.Run(ctx) }()
		expect := func(what string) {
			t.Helper()
			time.Sleep(5 * time.Minute)
			got := ""
			if len(told) > 0 {
				got = <-told
			}
			if !strings.Contains(got, what) || what == "" && got != "" || len(told) > 0 {
				t.Errorf("told %q and %d more, want %q", got, len(told), what)
			}
		}
		expect("gold, silver")
		expect("")
		cluster.classes.Store(&[]string{"detnet-critical", "gold", "silver"})
		expect("")
		cluster.classes.Store(&[]string{"detnet-critical", "gold"})
		expect("PriorityClass silver")
	})
}
