// Package actuatetest holds what is expected of an actuate.Annotator, as a
// suite that runs on the fake and on a real API server, and the fake itself.
package actuatetest

import (
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
)

// Cluster is a place where pods live.
type Cluster interface {
	actuate.Annotator
	Create(t *testing.T, pod plan.PodID, annotations map[string]string) types.UID
	Delete(t *testing.T, pod plan.PodID)
	// Annotations returns nil for a pod that is not there.
	Annotations(t *testing.T, pod plan.PodID) map[string]string
}

// Conformance checks c.
func Conformance(t *testing.T, c Cluster) {
	pod := plan.PodID{Namespace: "default", Name: "telemetry"}
	limit := map[string]string{"kubernetes.io/egress-bandwidth": "85M"}

	t.Run("changes what it is told and nothing else", func(t *testing.T) {
		uid := c.Create(t, pod, map[string]string{"kubernetes.io/egress-bandwidth": "100M", "other": "kept"})
		defer c.Delete(t, pod)
		if err := c.Annotate(t.Context(), pod, uid, limit); err != nil {
			t.Fatalf("Annotate: %v", err)
		}
		want := map[string]string{"kubernetes.io/egress-bandwidth": "85M", "other": "kept"}
		if got := c.Annotations(t, pod); !maps.Equal(got, want) {
			t.Errorf("annotations = %v, want %v", got, want)
		}
	})
	t.Run("tries without effect", func(t *testing.T) {
		has := map[string]string{"kubernetes.io/egress-bandwidth": "100M"}
		uid := c.Create(t, pod, has)
		if err := c.Try(t.Context(), pod, uid, limit); err != nil {
			t.Errorf("Try: %v", err)
		}
		if got := c.Annotations(t, pod); !maps.Equal(got, has) {
			t.Errorf("annotations = %v, want %v", got, has)
		}
		c.Delete(t, pod)
		if err := c.Try(t.Context(), pod, uid, limit); !write.Gone(err) {
			t.Errorf("Try on a pod that is gone = %v, want an error that is Gone", err)
		}
	})
	t.Run("adds to a pod without annotations", func(t *testing.T) {
		uid := c.Create(t, pod, nil)
		defer c.Delete(t, pod)
		if err := c.Annotate(t.Context(), pod, uid, limit); err != nil {
			t.Fatalf("Annotate: %v", err)
		}
		if got := c.Annotations(t, pod); !maps.Equal(got, limit) {
			t.Errorf("annotations = %v, want %v", got, limit)
		}
	})
	t.Run("takes away what is given as empty", func(t *testing.T) {
		uid := c.Create(t, pod, map[string]string{"kubernetes.io/egress-bandwidth": "100M", "other": "kept"})
		defer c.Delete(t, pod)
		gone := map[string]string{"kubernetes.io/egress-bandwidth": "", "never": ""}
		if err := c.Annotate(t.Context(), pod, uid, gone); err != nil {
			t.Fatalf("Annotate: %v", err)
		}
		if got, want := c.Annotations(t, pod), map[string]string{"other": "kept"}; !maps.Equal(got, want) {
			t.Errorf("annotations = %v, want %v", got, want)
		}
	})
	t.Run("does not recreate a deleted pod", func(t *testing.T) {
		uid := c.Create(t, pod, nil)
		c.Delete(t, pod)
		if err := c.Annotate(t.Context(), pod, uid, limit); !write.Gone(err) {
			t.Errorf("Annotate = %v, want an error that is Gone", err)
		}
		if got := c.Annotations(t, pod); got != nil {
			t.Errorf("the pod is back, with %v", got)
		}
	})
	t.Run("leaves a reborn namesake alone", func(t *testing.T) {
		old := c.Create(t, pod, nil)
		c.Delete(t, pod)
		born := map[string]string{"kubernetes.io/egress-bandwidth": "100M"}
		c.Create(t, pod, born)
		defer c.Delete(t, pod)
		if err := c.Annotate(t.Context(), pod, old, limit); !write.Gone(err) {
			t.Errorf("Annotate = %v, want an error that is Gone", err)
		}
		if got := c.Annotations(t, pod); !maps.Equal(got, born) {
			t.Errorf("annotations = %v, want %v", got, born)
		}
	})
}
