package leader

import (
	"bytes"
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// trust is for how long a change of the lease that a watch told stands for a look at it: a
// leader that lives renews before that is over. Whatever ends the watch, or delays it, the
// standby is then back to looking.
const trust = Retry + 2*look

// told is the lease as a watch last told it; the zero told: it has not.
type told struct {
	record resourcelock.LeaderElectionRecord
	at     time.Time
}

// watch notes each change of the lease until ctx ends.
func (h *Held) watch(ctx context.Context, client kubernetes.Interface) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(h.LeaseMeta.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, h.LeaseMeta.Name).String()
		}))
	informer := factory.Coordination().V1().Leases().Informer()
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // never fails before the start
		AddFunc:    h.changed,
		UpdateFunc: func(_, now any) { h.changed(now) },
		DeleteFunc: func(any) { h.tell(told{}) },
	})
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

func (h *Held) changed(object any) {
	lease, ok := object.(*coordinationv1.Lease)
	if !ok || lease.Name != h.LeaseMeta.Name {
		return
	}
	r := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	h.tell(told{*r, time.Now()})
}

// exact is by what client-go tells one state of the lease from another, and so when it was
// renewed: LeaseLock's own way has the times in whole seconds, so that all but the first
// renewal of a second would not count, and the lease be free too early.
func exact(r *resourcelock.LeaderElectionRecord) []byte {
	return fmt.Appendf(nil, "%q %q %d %d %d", r.HolderIdentity, r.PreferredHolder, r.LeaderTransitions, r.AcquireTime.UnixMicro(), r.RenewTime.UnixMicro())
}

func (h *Held) tell(now told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !bytes.Equal(exact(&now.record), exact(&h.told.record)) { // else it is said again, or changed where no holder speaks
		h.told = now
	}
}

// heard returns the lease as the watch told it, where that is as good as a look: somebody
// else renewed it just now; nil elsewhere. Who may lead, or may take the lease, reads it.
func (h *Held) heard() *resourcelock.LeaderElectionRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.told.record
	if h.term != nil || r.HolderIdentity == "" || r.HolderIdentity == h.Identity() || time.Since(h.told.at) > trust {
		return nil
	}
	return &r
}
