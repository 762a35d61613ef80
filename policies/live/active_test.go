package live

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Decisions go on, each by one whole set, while sets are replaced.
func TestReloadDropsNoDecision(t *testing.T) {
	sets := []policies.Set{
		policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {initial: 50M, max: 500M}}}"}.Over(policies.Default()),
		policies.Set{"site.yaml": "classes: {best-effort: {bandwidth: {initial: 60M, max: 600M}}}"}.Over(policies.Default()),
	}
	active := NewActive(mustLoad(t, policies.Set{"site.yaml": sets[0]["site.yaml"]}), time.Now(), prometheus.NewRegistry())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d, err := active.Decide(t.Context(), podInput(t, map[string]string{workload.LabelPriority: "best-effort"}))
				if errors.Is(err, policies.ErrSlow) {
					continue // the machine stood still
				}
				if err != nil {
					t.Error(err)
					return
				}
				if d.Bandwidth.Max != 10*d.Bandwidth.Initial {
					t.Errorf("a decision of two sets: %+v", d.Bandwidth)
					return
				}
			}
		})
	}
	for n := range 10 {
		if _, _, err := active.reload(t.Context(), sets[(n+1)%2], time.Now()); err != nil && !errors.Is(err, policies.ErrSlow) && !errors.Is(err, errUnchanged) {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
