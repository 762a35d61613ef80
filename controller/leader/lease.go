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
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// How the lead is held. A standby takes over Duration after it has seen the last
// renewal; the leader itself stops Renew after it began its last successful one.
// The difference is for what it has sent and the API server has not yet carried
// out.
const (
	Duration = 2 * time.Second
	Renew    = 1400 * time.Millisecond
	Retry    = 500 * time.Millisecond
	// look is how often a standby looks at the lease, and up to 2.2 times as rarely: by as
	// much as it learns late of the last renewal, and that its time is over, nobody leads.
	// It asks the API server only where the watch has told nothing for a while.
	look = 50 * time.Millisecond
)

// ErrNotLeading is why a write was not sent.
var ErrNotLeading = errors.New("this replica does not lead, or could not renew its lease in time")

// carry is how long a leader that can neither renew its lease nor learn whose it is
// goes on to decide and to tell agents, who refuse it as soon as they hear another.
// It is for an API server that is away: without writes, and not for ever.
const carry = 10 * time.Minute

// Held is the lease as this replica holds it: a lock for leader election that
// knows until when the lead is certain. Its clock is monotonic, so a process that
// was stopped knows it when it goes on, before it acts.
type Held struct {
	*resourcelock.LeaseLock
	watching kubernetes.Interface // nil: nothing is watched

	mu      sync.Mutex
	until   time.Time // zero: not held
	renewed time.Time // when the last renewal that succeeded was begun
	deposed bool      // an agent has heard a later leader since
	term    *term     // nil: somebody else leads, or nobody
	begun   chan *term
	err     error // of the last try
	told    told
}

// term is the time from when the lease was acquired until somebody else is known
// to lead. It outlasts the certain lead.
type term struct {
	acquired    time.Time // as the lease has it: µs
	transitions int       // how often the lease had changed hands
	ctx         context.Context
	end         context.CancelFunc
}

// NewHeld returns the lock of this replica, by connections of its own.
func NewHeld(cluster *rest.Config, namespace string) (*Held, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica in the lease: %w", err)
	}
	own := rest.CopyConfig(cluster)
	own.QPS, own.UserAgent = -1, own.UserAgent+" leader-election" // no request waits behind others
	watching, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.Host, err)
	}
	own.Timeout = Renew / 2 // one that hangs must not cost the lead
	client, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", cluster.Host, err)
	}
	h := newHeld(&resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: Lease},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	})
	h.watching = watching
	return h, nil
}

func newHeld(lock *resourcelock.LeaseLock) *Held {
	return &Held{LeaseLock: lock, begun: make(chan *term, 1)}
}

// Create implements resourcelock.Interface.
func (h *Held) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return h.noted(r, func() error { return h.LeaseLock.Create(ctx, r) })
}

// Update implements resourcelock.Interface. A leader that is asked to renew as often as
// a standby looks renews each Retry; in between nothing is written, and nothing counts
// as renewed.
func (h *Held) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity == h.Identity() && h.fresh(r) {
		return nil
	}
	return h.noted(r, func() error { return h.LeaseLock.Update(ctx, r) })
}

// Get implements resourcelock.Interface. Whoever reads somebody else's name holds
// nothing.
func (h *Held) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if r := h.heard(); r != nil {
		return r, exact(r), nil
	}
	r, _, err := h.LeaseLock.Get(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err != nil {
		return nil, nil, err
	}
	if r.HolderIdentity != h.Identity() {
		h.lose()
	}
	return r, exact(r), nil
}

// fresh reports whether the lease was renewed just now, in the same term as r.
func (h *Held) fresh(r resourcelock.LeaderElectionRecord) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err == nil && time.Now().Before(h.until) && time.Since(h.renewed) < Retry-look/2 && h.term.is(r)
}

// is reports whether r is of the same term. The lease says when it was acquired, and
// keeps that while nobody else has it.
func (t *term) is(r resourcelock.LeaderElectionRecord) bool {
	return t != nil && t.transitions == r.LeaderTransitions && t.acquired.Equal(r.AcquireTime.Truncate(time.Microsecond))
}

// noted counts from before the write: the API server, and so a standby, may only
// have seen it later.
func (h *Held) noted(r resourcelock.LeaderElectionRecord, write func() error) error {
	mine := r.HolderIdentity == h.Identity()
	if !mine { // it is given up: nothing is written after that
		h.mu.Lock()
		h.lose()
		h.mu.Unlock()
	}
	begun := time.Now()
	err := write()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err == nil && mine {
		h.hold(begun, r)
	}
	return err
}

// hold notes a renewal. It is called with mu held.
func (h *Held) hold(begun time.Time, r resourcelock.LeaderElectionRecord) {
	h.until, h.renewed, h.deposed = begun.Add(Renew), begun, false
	if h.term.is(r) {
		return
	}
	h.finish()
	t := &term{acquired: r.AcquireTime.Truncate(time.Microsecond), transitions: r.LeaderTransitions}
	t.ctx, t.end = context.WithCancel(context.Background())
	h.term = t
	select {
	case <-h.begun: // one that nobody has taken up
	default:
	}
	h.begun <- t
}

// lose ends the lead. It is called with mu held.
func (h *Held) lose() {
	h.until = time.Time{}
	h.finish()
}

func (h *Held) finish() {
	if h.term != nil {
		h.term.end()
		h.term = nil
	}
}

// Depose is what an agent says who has heard a later leader. Nobody is told any
// more until the lease is renewed; while the lead is certain the agent is mistaken.
func (h *Held) Depose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deposed = !time.Now().Before(h.until)
}

// Speaks reports whether this replica may decide, and tell agents so: it leads, or
// can't reach its lease and knows of nobody who does. Writes take Leads.
func (h *Held) Speaks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.term != nil && !h.deposed && time.Since(h.renewed) < carry
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
	if h.term == nil || !time.Now().Before(h.until) {
		return 0, fmt.Errorf("read the number of the term from lease %s: %w", h.Describe(), ErrNotLeading)
	}
	return termOf(lease.CreationTimestamp.Time, h.term.transitions), nil
}
