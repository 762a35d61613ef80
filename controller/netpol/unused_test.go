package netpol

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/workload"
)

func unusedKeeper(t *testing.T) (k *Keeper, reg *prometheus.Registry, later *time.Duration) {
	t.Helper()
	later, reg = new(time.Duration), prometheus.NewRegistry()
	began := time.Unix(1_800_000_000, 0)
	k, err := New(Settings{Config: &rest.Config{}, Registerer: reg, Now: func() time.Time { return began.Add(*later) }})
	if err != nil {
		t.Fatal(err)
	}
	return k, reg, later
}

// A policy is deleted when no pod has needed it for a while on end, also where there
// are more of them than one look deletes.
func TestUnusedForAWhileOnEnd(t *testing.T) {
	k, _, later := unusedKeeper(t)
	one := []*policy{{ObjectMeta: metav1.ObjectMeta{UID: "1"}}}
	due := func(unused []*policy, after time.Duration, want int) {
		t.Helper()
		*later += after
		if got := len(k.due("shop", unused)); got != want {
			t.Errorf("after %v: %d are due, want %d", *later, got, want)
		}
	}
	due(one, 0, 0)
	due(nil, workload.UnusedFor/2, 0) // a pod needs it again
	due(one, workload.UnusedFor, 0)
	due(one, workload.UnusedFor-1, 0)
	due(one, 1, 1)
	due(one, 0, 1) // it was not deleted at that look
}

// The next term of the same process begins without what this one knew, and shows
// nothing until then.
func TestATermOfPoliciesIsForgotten(t *testing.T) {
	k, reg, _ := unusedKeeper(t)
	k.figures.set("shop", map[string]int{stateMade: 2})
	k.unused["shop"] = map[types.UID]time.Time{"1": k.Now()}
	k.said["shop"], k.answers["shop"] = map[string]bool{"x": true}, answers{}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := k.Start(ended); err != nil {
		t.Error(err)
	}
	if n := figure(t, reg, "detnet_network_policies", stateMade); n != 0 || len(k.unused)+len(k.said)+len(k.answers) != 0 {
		t.Errorf("%v policies are shown; known are %v, %v, %v", n, k.unused, k.said, k.answers)
	}
}
