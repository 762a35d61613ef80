package leader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// How the lead is held. A standby takes over Duration after it has seen the last
// renewal; the leader itself stops Renew after it began its last successful one.
// The difference is for what it has sent and the API server has not yet carried
// out.
const (
	Duration = 2 * time.Second
	Renew    = 1400 * time.Millisecond
	Retry    = 250 * time.Millisecond
)

// ErrNotLeading is why a write was not sent.
var ErrNotLeading = errors.New("this replica does not lead, or could not renew its lease in time")

// Held is the lease as this replica holds it: a lock for leader election that
// knows until when the lead is certain. Its clock is monotonic, so a process that
// was stopped knows it when it goes on, before it acts.
type Held struct {
	*resourcelock.LeaseLock

	mu    sync.Mutex
	until time.Time // zero: not held
	terms int       // how often the lease had changed hands
}

// NewHeld returns the lock of this replica.
func NewHeld(client kubernetes.Interface, namespace string) (*Held, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica in the lease: %w", err)
	}
	return &Held{LeaseLock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: Lease},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}}, nil
}

// Create implements resourcelock.Interface.
func (h *Held) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.noted(r, func() error { return h.LeaseLock.Create(ctx, r) })
}

// Update implements resourcelock.Interface.
func (h *Held) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.noted(r, func() error { return h.LeaseLock.Update(ctx, r) })
}

// Get implements resourcelock.Interface. Whoever reads somebody else's name holds
// nothing.
func (h *Held) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := h.LeaseLock.Get(ctx)
	if err == nil && r.HolderIdentity != h.Identity() {
		h.set(time.Time{}, r.LeaderTransitions)
	}
	return r, raw, err
}

// noted counts from before the write: the API server, and so a standby, may only
// have seen it later.
func (h *Held) noted(r resourcelock.LeaderElectionRecord, write func() error) error {
	if r.HolderIdentity != h.Identity() { // it is given up: nothing is written after that
		h.set(time.Time{}, r.LeaderTransitions)
	}
	begun := time.Now()
	if err := write(); err != nil {
		return err
	}
	if r.HolderIdentity == h.Identity() {
		h.set(begun.Add(Renew), r.LeaderTransitions)
	}
	return nil
}

func (h *Held) set(until time.Time, terms int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until, h.terms = until, terms
}

// Until returns until when this replica certainly leads; false: it does not.
func (h *Held) Until() (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until, time.Now().Before(h.until)
}

// Leads reports whether this replica certainly leads now.
func (h *Held) Leads() bool {
	_, ok := h.Until()
	return ok
}

// Term returns the number of this replica's term, greater than that of any leader
// before: when the lease was made (s since 1970) and how often it changed hands.
func (h *Held) Term(ctx context.Context) (uint64, error) {
	lease, err := h.Client.Leases(h.LeaseMeta.Namespace).Get(ctx, h.LeaseMeta.Name, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read the number of the term from lease %s: %w", h.Describe(), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !time.Now().Before(h.until) {
		return 0, fmt.Errorf("read the number of the term from lease %s: %w", h.Describe(), ErrNotLeading)
	}
	return termOf(lease.CreationTimestamp.Time, h.terms), nil
}
