package webhook

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/cilium/pkg/policy/api"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/policies"
)

// writer counts the writes; nothing else of a client is used.
type writer struct {
	client.Client
	applied atomic.Int32
	err     error
	gate    chan struct{} // nil: open
}

func (w *writer) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	w.applied.Add(1)
	if w.gate != nil {
		<-w.gate
	}
	return w.err
}

func somePolicy(name, description string) []policies.NetworkPolicy {
	return []policies.NetworkPolicy{{Name: name, Spec: &api.Rule{Description: description}}}
}

// Only the first pod of a kind pays, until the belief grows old.
func TestApplierWritesOnce(t *testing.T) {
	now := time.Unix(0, 0)
	w := &writer{}
	a := NewApplier(w, func() time.Time { return now })
	ensure := func(namespace string, list []policies.NetworkPolicy, want int32) {
		t.Helper()
		if err := a.Ensure(t.Context(), namespace, list); err != nil {
			t.Error(err)
		}
		if got := w.applied.Load(); got != want {
			t.Errorf("%d writes, want %d", got, want)
		}
	}
	ensure("shop", somePolicy("p", "a"), 1)
	ensure("shop", somePolicy("p", "a"), 1)
	ensure("shop", somePolicy("p", "b"), 2) // another content
	ensure("shop", somePolicy("q", "a"), 3)
	ensure("farm", somePolicy("p", "a"), 4)
	now = now.Add(believeApplied + time.Second)
	ensure("shop", somePolicy("p", "a"), 5)
}

func TestApplierTriesAgainAfterAnError(t *testing.T) {
	w := &writer{err: errors.New("away")}
	a := NewApplier(w, time.Now)
	for range 2 {
		if err := a.Ensure(t.Context(), "shop", somePolicy("p", "a")); err == nil {
			t.Error("no error")
		}
	}
	if w.applied.Load() != 2 {
		t.Errorf("%d writes, want 2", w.applied.Load())
	}
}

// A cluster without Cilium is asked once in a while and nobody is bothered.
func TestApplierOnAClusterWithoutCilium(t *testing.T) {
	now := time.Unix(0, 0)
	w := &writer{err: &meta.NoKindMatchError{GroupKind: policyKind.GroupKind()}}
	a := NewApplier(w, func() time.Time { return now })
	for _, name := range []string{"p", "q"} {
		if err := a.Ensure(t.Context(), "shop", somePolicy(name, "a")); err != nil {
			t.Error(err)
		}
	}
	if w.applied.Load() != 1 {
		t.Errorf("%d writes, want 1", w.applied.Load())
	}
	now = now.Add(believeAbsent + time.Second)
	w.err = nil
	if err := a.Ensure(t.Context(), "shop", somePolicy("p", "a")); err != nil || w.applied.Load() != 2 {
		t.Errorf("error %v, %d writes; want 2", err, w.applied.Load())
	}
}

// Pods that need the same policy at the same moment wait for one write.
func TestApplierForManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writer{gate: make(chan struct{})}
		a := NewApplier(w, time.Now)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := a.Ensure(t.Context(), "shop", somePolicy("p", "a")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(w.gate)
		wg.Wait()
		if n := w.applied.Load(); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}
