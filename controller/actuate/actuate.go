// Package actuate is the only writer of managed state: it patches bandwidth
// annotations of live pods, the newest value only, cuts before
// raises, within a budget of writes for the whole cluster.
package actuate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Annotator changes annotations of a live object and touches nothing else.
// actuatetest.Conformance says what is expected of one.
type Annotator interface {
	// Annotate sets the given annotations on the pod that has this UID; an
	// empty value takes its annotation away. It never creates: a pod that is gone, or was replaced by a namesake, is an
	// error for which Gone is true.
	Annotate(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error
}

// Gone reports that the pod an error speaks of is no longer there. A namesake
// answers a patch that names another UID with "metadata.uid is immutable".
func Gone(err error) bool {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return c.Field == "metadata.uid"
	})
}

// Change is one pod's new egress limit.
type Change struct {
	plan.Limit
	UID      types.UID
	Min, Max bitrate.Rate // the value is brought inside, whatever a law asked for
	Before   string       // written beside it as workload.InitialBandwidth; "" if it is there
}

// Config bounds the writes.
type Config struct {
	WritesPerSecond float64 // for the whole cluster
	Workers         int     // writes in flight at once
}

// DefaultConfig is DESIGN's budget.
func DefaultConfig() Config { return Config{WritesPerSecond: 20, Workers: 4} }

// Back-off while the API server does not answer, and the time after which an
// annotation that still shows the old value is written again.
const (
	firstDelay = 250 * time.Millisecond
	maxDelay   = 10 * time.Second
	echo       = 3 * time.Second
	timeout    = 10 * time.Second
)

// Actuator writes what was submitted last.
type Actuator struct {
	to      Annotator
	limiter *rate.Limiter
	workers int
	log     *slog.Logger
	metrics *metrics

	mu      sync.Mutex
	waiting queue
	busy    map[plan.PodID]bool
	written map[plan.PodID]write
	delay   time.Duration // present back-off; 0 while the API server answers
	resume  time.Time
	wake    chan struct{}
}

// write remembers the last value given to a pod.
type write struct {
	uid types.UID
	to  bitrate.Rate
	at  time.Time
}

// New returns an Actuator that writes once it runs. A nil registerer leaves its
// metrics unregistered.
func New(to Annotator, c Config, log *slog.Logger, reg prometheus.Registerer) *Actuator {
	return &Actuator{
		to:      to,
		limiter: rate.NewLimiter(rate.Limit(c.WritesPerSecond), max(1, int(c.WritesPerSecond))),
		workers: c.Workers,
		log:     log,
		metrics: newMetrics(reg),
		waiting: queue{},
		busy:    map[plan.PodID]bool{},
		written: map[plan.PodID]write{},
		wake:    make(chan struct{}, 1),
	}
}

// Submit asks for changes. A pod's newest value replaces one that still waits;
// a value that was just written, or is in force, costs nothing. Whoever cuts has
// changed their mind about raises that still wait: those are dropped.
func (a *Actuator) Submit(changes []Change) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Urgent() }) {
		maps.DeleteFunc(a.waiting, func(_ plan.PodID, w waiting) bool { return !w.Urgent() })
	}
	for _, c := range changes {
		c.To = fit(c)
		last, known := a.written[c.Pod]
		just := known && last.uid == c.UID && last.to == c.To && now.Sub(last.at) < echo
		if c.To == c.From || just {
			delete(a.waiting, c.Pod)
			continue
		}
		since := now
		if w, ok := a.waiting[c.Pod]; ok && w.UID == c.UID {
			since = w.since
		}
		a.waiting[c.Pod] = waiting{c, since}
	}
	a.signal()
}

// SetBudget changes the writes per second.
func (a *Actuator) SetBudget(writesPerSecond float64) {
	a.limiter.SetLimit(rate.Limit(writesPerSecond))
	a.limiter.SetBurst(max(1, int(writesPerSecond)))
}

// Forget drops what is known of pods that are not kept.
func (a *Actuator) Forget(kept func(plan.PodID) bool) {
	for pod := range a.known() {
		if !kept(pod) {
			a.forget(pod)
		}
	}
}

// known are the pods that are written to or were.
func (a *Actuator) known() map[plan.PodID]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	pods := make(map[plan.PodID]bool, len(a.written)+len(a.waiting))
	for pod := range a.written {
		pods[pod] = true
	}
	for pod := range a.waiting {
		pods[pod] = true
	}
	return pods
}

func (a *Actuator) forget(pod plan.PodID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.written, pod)
	delete(a.waiting, pod)
}

// fit brings a limit inside the pod's bounds and makes it worth writing. It is
// the last gate before the cluster: what leaves it is never zero, which a CNI
// would take for "unlimited".
func fit(c Change) bitrate.Rate {
	hi := cmp.Or(c.Max, bitrate.Max)
	lo := min(max(c.Min, bitrate.Min), hi) // a ceiling is never exceeded
	return max(min(c.To, hi).Quantise(), lo)
}
