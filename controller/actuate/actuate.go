// Package actuate brings the limits of live pods to what was submitted last: the
// newest value only, cuts before raises, within a budget of writes for the whole
// cluster. A raise that ends a low limit waits for cuts alone, and not for long. A pod whose limit the API server refuses to change is held: from time
// to time it is asked on dry run whether it would take it now.
package actuate

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Annotator changes annotations of a live object and touches nothing else.
// actuatetest.Conformance says what is expected of one.
type Annotator interface {
	// Annotate sets the given annotations on the pod that has this UID; an
	// empty value takes its annotation away. It never creates: a pod that is
	// gone, or was replaced by a namesake, is an error for which write.Gone is
	// true. What would be refused again is a write.Refusal.
	Annotate(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error
	// Try says what Annotate would answer, and changes nothing.
	Try(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error
}

// Change is one pod's new egress limit.
type Change struct {
	plan.Limit
	UID      types.UID
	Min, Max bitrate.Rate // the value is brought inside, whatever a law asked for
	Before   string       // written beside it as workload.AnnotationInitialBandwidth; "" if it is there
	// Order is that of the decision, where an agent enforces it and the annotation
	// is its record; zero where the annotation is the only road.
	Order    workload.Order
	Recorded bitrate.Rate // what the annotation says
	// Takes is what a cut takes from the link now: the greatest go first.
	Takes bitrate.Rate
}

// record reports that the change is in force, or on its way there, without it.
func (c Change) record() bool { return !c.Order.IsZero() }

// tightens reports that the limit is less than what is recorded, or that none is.
func (c Change) tightens() bool { return c.Recorded == 0 || c.To < c.Recorded }

// undoes reports that the change goes back from a try to what is recorded: nobody is in trouble.
func (c Change) undoes() bool { return c.record() && Fit(c) == c.Recorded }

// Config bounds the writes.
type Config struct {
	Budget  *rate.Limiter // shared by all who write
	Workers int           // writes in flight at once
}

// DefaultConfig has a budget of its own, of 20 writes a second and 100 at once.
func DefaultConfig() Config { return Config{Budget: write.NewBudget(20, 100), Workers: 4} }

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
	held    map[plan.PodID]held // refused
	busy    map[plan.PodID]bool
	written map[plan.PodID]value
	delay   time.Duration // present back-off; 0 while the API server answers
	resume  time.Time
	wake    chan struct{}
}

// value remembers the last one given to a pod.
type value struct {
	uid types.UID
	to  bitrate.Rate
	at  time.Time
}

// New returns an Actuator that writes once it runs. A nil registerer leaves its
// metrics unregistered.
func New(to Annotator, c Config, log *slog.Logger, reg prometheus.Registerer) *Actuator {
	a := &Actuator{
		to:      to,
		limiter: c.Budget,
		workers: c.Workers,
		log:     log,
		wake:    make(chan struct{}, 1),
	}
	a.clear()
	a.metrics = newMetrics(reg, a.Waiting)
	return a
}

// clear forgets everything.
func (a *Actuator) clear() {
	a.waiting, a.held, a.busy, a.written = queue{}, map[plan.PodID]held{}, map[plan.PodID]bool{}, map[plan.PodID]value{}
	a.delay, a.resume = 0, time.Time{}
}

// Waiting are the writes that have yet to be sent: cuts that nothing else enforces,
// and the others, raises and records.
type Waiting struct {
	Cuts, Others int
	Longest      time.Duration // how long one of them has waited
}

// Waiting returns the length of the queue.
func (a *Actuator) Waiting() Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	var w Waiting
	for _, each := range a.waiting {
		if each.Urgent() && !each.record() {
			w.Cuts++
		} else {
			w.Others++
		}
		w.Longest = max(w.Longest, each.waited(time.Now()))
	}
	return w
}

// Submit asks for changes. A pod's newest value replaces one that still waits;
// a value that was just written, or is in force, costs nothing. Whoever cuts has
// changed their mind about raises that still wait: those are dropped, unless they
// are the record of what is in force, or asked for again: these have waited since. What is
// tried, and in force without it, is not written.
func (a *Actuator) Submit(changes []Change) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Urgent() && !c.undoes() }) {
		a.drop(changes)
	}
	for _, c := range changes {
		if c.Tried && c.record() { // what is recorded, or waits to be, is tighter
			continue
		}
		c.Tried = false
		c.To = Fit(c)
		if a.needless(c, now) {
			delete(a.waiting, c.Pod)
			continue
		}
		if h, ok := a.held[c.Pod]; ok && h.UID == c.UID {
			h.Change = c
			a.held[c.Pod] = h
			continue
		}
		next := waiting{c, now, now}
		w, waits := a.waiting[c.Pod]
		if waits = waits && w.UID == c.UID; waits && (w.ToLow || !c.ToLow) && (!c.record() || w.tightens() || !c.tightens()) { // what begins a low limit waits from now, and what tightens the record again
			next.since = w.since
		}
		if next.from = writable(c, next.since, now); waits && w.To == c.To && w.from.Before(next.from) {
			next.from = w.from
		}
		a.waiting[c.Pod] = next
	}
	a.signal()
}

// drop forgets the raises that wait, for changes of which some are cuts. It is called
// with mu held.
func (a *Actuator) drop(changes []Change) {
	again := map[plan.PodID]bool{}
	for _, c := range changes {
		again[c.Pod] = c.FromLow
	}
	maps.DeleteFunc(a.waiting, func(pod plan.PodID, w waiting) bool {
		return !w.Urgent() && !w.record() && !(w.FromLow && again[pod])
	})
}

// needless reports that the annotation says what c wants, or was just told to. It
// is called with mu held.
func (a *Actuator) needless(c Change, now time.Time) bool {
	last, known := a.written[c.Pod]
	just := known && last.uid == c.UID && now.Sub(last.at) < echo
	switch {
	case just && last.to == c.To:
		return true
	case c.record(): // From is in force already, which says nothing of the record
		return c.To == c.Recorded && !just && !a.busy[c.Pod]
	}
	return c.To == c.From
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
	for pod := range a.held {
		pods[pod] = true
	}
	return pods
}

func (a *Actuator) forget(pod plan.PodID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.written, pod)
	delete(a.waiting, pod)
	delete(a.held, pod)
}

// Fit brings a limit inside the pod's bounds and, but for one that is tried, makes it worth writing. It is
// the last gate before the cluster: what leaves it is never zero, which a CNI
// would take for "unlimited".
func Fit(c Change) bitrate.Rate {
	hi := cmp.Or(c.Max, bitrate.Max)
	lo := min(max(c.Min, bitrate.Min), hi) // a ceiling is never exceeded
	to := min(c.To, hi)
	if !c.Tried {
		to = to.Quantise()
	}
	return max(to, lo)
}
