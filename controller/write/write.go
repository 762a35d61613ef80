// Package write is the one way in which detnet changes live objects: limits and
// stamps of pods, templates of workloads, marks of nodes. Each change is a JSON
// merge patch (RFC 7386) that names the object by its UID or the version that was
// read, under one field manager and one budget. What the API server refuses is
// said once, with its own words, and is not asked again until a while later.
package write

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// Change is what is to be different on one object.
type Change struct {
	Target
	// Version is the resourceVersion that was read, where the change replaces
	// what it read, such as a list; "" where UID alone has to match.
	Version     string
	Subresource string
	// Merge is the merge patch, without what pins it to the object.
	Merge map[string]any
	// Labels and Annotations are merged too; an empty value takes the key away.
	Labels, Annotations map[string]string
	// DryRun asks whether the change would be taken, and changes nothing. It is
	// sent although the object is in its back-off.
	DryRun bool
}

// Writer sends changes. It remembers refusals for as long as it lives.
type Writer struct {
	client kubernetes.Interface
	budget *rate.Limiter
	events Events
	log    *slog.Logger

	mu       sync.Mutex
	refusals map[Target]Refusal
	refused  atomic.Pointer[map[types.UID]string]
}

// New returns a Writer that keeps to budget; nil is none. Without events, a
// refusal is told to the log and the caller alone.
func New(client kubernetes.Interface, budget *rate.Limiter, events Events, log *slog.Logger) *Writer {
	w := &Writer{client: client, budget: budget, events: events, log: log, refusals: map[Target]Refusal{}}
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
	err := w.patch(ctx, c)
	switch {
	case err == nil:
		w.accepted(c.Target)
		return nil
	case refused(err):
		return w.refuse(c.Target, err, time.Now())
	case Gone(err):
		w.forget(c.Target)
	}
	return fmt.Errorf("change %s: %w", c.Target, err)
}

func (w *Writer) patch(ctx context.Context, c Change) error {
	body, err := json.Marshal(c.body())
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	path, err := c.path()
	if err != nil {
		return err
	}
	if c.Subresource != "" {
		path += "/" + c.Subresource
	}
	request := w.client.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(path).Param("fieldManager", FieldManager).Body(body)
	if c.DryRun {
		request.Param("dryRun", metav1.DryRunAll)
	}
	return request.Do(ctx).Error()
}

// body is the merge patch that is sent.
func (c Change) body() map[string]any {
	body := maps.Clone(c.Merge)
	if body == nil {
		body = map[string]any{}
	}
	meta := map[string]any{}
	if given, ok := body["metadata"].(map[string]any); ok {
		maps.Copy(meta, given)
	}
	for key, values := range map[string]map[string]string{"labels": c.Labels, "annotations": c.Annotations} {
		if len(values) == 0 {
			continue
		}
		merge := map[string]any{}
		if given, ok := meta[key].(map[string]any); ok {
			maps.Copy(merge, given)
		}
		for k, v := range values {
			merge[k] = v
			if v == "" {
				merge[k] = nil
			}
		}
		meta[key] = merge
	}
	if c.UID != "" {
		meta["uid"] = c.UID
	}
	if c.Version != "" {
		meta["resourceVersion"] = c.Version
	}
	if len(meta) > 0 {
		body["metadata"] = meta
	}
	return body
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

// announce puts an Event on the object.
func (w *Writer) announce(t Target, reason, note string) {
	if w.events != nil {
		w.events.Eventf(t.Reference(), nil, corev1.EventTypeWarning, reason, "write", "%s", Note(note))
	}
}
