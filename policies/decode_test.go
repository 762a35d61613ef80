package policies

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/workload"
)

// Whatever a policy answers, reading it does not panic, and what is accepted
// can be stamped.
func FuzzDecision(f *testing.F) {
	e, err := Compile(f.Context(), Default())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"class": "critical", "networkPolicies": [{"name": "p", "spec": {"endpointSelector": {}, "egress": [{}]}}]}`,
		`{"class": "best-effort", "bandwidth": {"max": "200M", "egress": 5, "weight": 1.5}}`,
		`{"class": "", "deny": ["x"], "affinity": {"nodeAffinity": {}}}`,
		`[]`, `{"class": {}}`, `{"labels": {"a": null}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ast.ValueFromReader(strings.NewReader(text))
		if err != nil {
			return
		}
		d, err := e.decide(v, asks{}, declared{}, Input{Pod: Object{}})
		if err != nil || d.Class == "" {
			return
		}
		if err := d.validate(); err != nil {
			t.Fatalf("accepted and invalid: %v", err)
		}
		if d.Protected && d.Bandwidth.Egress != 0 {
			t.Fatalf("a protected pod is limited: %+v", d)
		}
	})
}

// Decisions go on, each by one whole set, while sets are replaced.
func TestReloadDropsNoDecision(t *testing.T) {
	sets := []Set{
		Set{"site.yaml": "classes: {best-effort: {bandwidth: {initial: 50M, max: 500M}}}"}.Over(Default()),
		Set{"site.yaml": "classes: {best-effort: {bandwidth: {initial: 60M, max: 600M}}}"}.Over(Default()),
	}
	active := NewActive(mustLoad(t, Set{"site.yaml": sets[0]["site.yaml"]}), time.Now(), prometheus.NewRegistry())
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
				d, err := active.Decide(t.Context(), podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, nil))
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
		if _, _, err := active.reload(t.Context(), sets[(n+1)%2], time.Now()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
