package actuatetest

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/plan"
)

// Fake is a Cluster in memory. Before, where set, runs ahead of each Annotate
// and may fail it.
type Fake struct {
	Before func(plan.PodID) error

	mu   sync.Mutex
	born int
	pods map[plan.PodID]fakePod
}

type fakePod struct {
	uid         types.UID
	annotations map[string]string
}

// Annotate implements actuate.Annotator.
func (f *Fake) Annotate(_ context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error {
	if f.Before != nil {
		if err := f.Before(pod); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.find(pod, uid); err != nil {
		return err
	}
	p := f.pods[pod]
	maps.Copy(p.annotations, annotations)
	maps.DeleteFunc(p.annotations, func(_, value string) bool { return value == "" })
	return nil
}

// Try implements Annotator.
func (f *Fake) Try(_ context.Context, pod plan.PodID, uid types.UID, _ map[string]string) error {
	if f.Before != nil {
		if err := f.Before(pod); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(pod, uid)
}

// find is called with mu held.
func (f *Fake) find(pod plan.PodID, uid types.UID) error {
	switch p, ok := f.pods[pod]; {
	case !ok:
		return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	case p.uid != uid:
		return apierrors.NewConflict(corev1.Resource("pods"), pod.Name, nil)
	}
	return nil
}

// Create implements Cluster.
func (f *Fake) Create(t *testing.T, pod plan.PodID, annotations map[string]string) types.UID {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pods == nil {
		f.pods = map[plan.PodID]fakePod{}
	}
	f.born++
	p := fakePod{types.UID(strconv.Itoa(f.born)), map[string]string{}}
	maps.Copy(p.annotations, annotations)
	f.pods[pod] = p
	return p.uid
}

// Delete implements Cluster.
func (f *Fake) Delete(_ *testing.T, pod plan.PodID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, pod)
}

// Annotations implements Cluster.
func (f *Fake) Annotations(_ *testing.T, pod plan.PodID) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.pods[pod].annotations)
}
