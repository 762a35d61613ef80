// Package write is the one way in which the controller changes live objects:
// limits and stamps of pods, templates of workloads, marks of nodes, and network
// policies, which it also makes and deletes. A change names the object by its UID
// or the version that was read, under one field manager and one budget. What the
// API server refuses is said once, with its own words, and is not asked again
// until a while later.
package write

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// FieldManager names detnet in an object's managedFields.
const FieldManager = "detnet-controller"

// timeout of one write.
const timeout = 10 * time.Second

// Events records Kubernetes Events (events.k8s.io).
type Events interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// Verb is what a change does to its object.
type Verb string

// Patch merges what the change names (RFC 7386); the object's other fields stay.
// The others are of whole objects.
const (
	Patch   Verb = ""
	Create  Verb = "create"
	Replace Verb = "replace"
	Delete  Verb = "delete"
)

// String says it to people.
func (v Verb) String() string { return cmp.Or(string(v), "change") }

// Change is what is to be different on one object.
type Change struct {
	Target
	Verb Verb
	// Version is the resourceVersion that was read, where the change replaces
	// what it read, such as a list; "" where UID alone has to match.
	Version     string
	Subresource string
	// Merge is the merge patch, without what pins it to the object. With Create and
	// Replace it is the object, without kind and name, and a field that the API
	// server does not know is refused.
	Merge map[string]any
	// Labels and Annotations are merged too; an empty value takes the key away.
	Labels, Annotations map[string]string
	// DryRun asks whether the change would be taken, and changes nothing. It is
	// sent although the object is in its back-off.
	DryRun bool
	// Regards is what the Event of a refusal is put on; nil is the object itself.
	Regards *corev1.ObjectReference
}

// Writer sends changes. It remembers refusals for as long as it lives.
type Writer struct {
	client kubernetes.Interface
	budget *rate.Limiter
	events Events
	log    *slog.Logger

	mu       sync.Mutex
	refusals map[memory]Refusal
	refused  atomic.Pointer[map[types.UID]string]
}

// New returns a Writer that keeps to budget; nil is none. Without events, a
// refusal is told to the log and the caller alone.
func New(client kubernetes.Interface, budget *rate.Limiter, events Events, log *slog.Logger) *Writer {
	w := &Writer{client: client, budget: budget, events: events, log: log, refusals: map[memory]Refusal{}}
	w.refused.Store(&map[types.UID]string{})
	return w
}

// NewBudget returns a budget of so many writes a second for the whole cluster, of
// which so many may be at once after a quiet time.
func NewBudget(perSecond float64, burst int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, burst))
}

// SetBudget changes it.
func SetBudget(budget *rate.Limiter, perSecond float64, burst int) {
	budget.SetLimit(rate.Limit(perSecond))
	budget.SetBurst(max(1, burst))
}

// Do waits for its share of the budget and sends c. An object in its back-off
// costs nothing: the answer is the Refusal that is known.
func (w *Writer) Do(ctx context.Context, c Change) error {
	if r, ok := w.known(c); ok {
		return r
	}
	if w.budget != nil {
		if err := w.budget.Wait(ctx); err != nil {
			return err
		}
	}
	return w.Send(ctx, c)
}

// Send is Do for those who have paid for the write. An error is a Refusal if the
// API server would give the same answer again; Gone says that the object is not
// there any more; with others it may succeed later.
func (w *Writer) Send(ctx context.Context, c Change) error {
	if r, ok := w.known(c); ok {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(w.client.Discovery().RESTClient())
	if err != nil {
		return err
	}
	err = request.Do(ctx).Error()
	switch {
	case err == nil:
		w.accepted(c)
		return nil
	case refused(err):
		return w.refuse(c, err, time.Now())
	case Gone(err):
		w.forget(c)
	}
	return fmt.Errorf("%s %s: %w", c.Verb, c.Target, err)
}

// Gone reports that the object an error speaks of is no longer there, or not as
// it was read. A namesake answers a patch that names another UID with
// "metadata.uid is immutable".
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
