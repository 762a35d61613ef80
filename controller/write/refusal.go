package write

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// Back-off of an object whose change was refused. What refuses it, a policy or a
// right, is changed by people; the longest is how long they may have to wait.
const (
	firstPause = 15 * time.Second
	longPause  = 5 * time.Minute
)

// memory is under what a refusal is remembered: who may not change an object may
// still delete it.
type memory struct {
	Target
	Verb
}

func (c Change) memory() memory { return memory{c.Target, c.Verb} }

// Refusal is an API server's answer that it would give again: a policy or a
// webhook is against the change, a right is missing, or the object is not valid
// with it.
type Refusal struct {
	Target Target
	Verb   Verb
	Since  time.Time
	Again  time.Time // not asked before
	pause  time.Duration
	err    error
}

func (r Refusal) Error() string { return fmt.Sprintf("%s %s: refused: %v", r.Verb, r.Target, r.err) }

// Unwrap gives the API server's own error.
func (r Refusal) Unwrap() error { return r.err }

// Words are the API server's.
func (r Refusal) Words() string { return r.err.Error() }

// AsRefusal finds the Refusal in an error.
func AsRefusal(err error) (Refusal, bool) {
	var r Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// refused: asking again at once would give the same answer. A webhook that
// can't be called stands in the way of its objects alone, unlike an API server
// that can't be reached.
func refused(err error) bool {
	if Gone(err) {
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) ||
		apierrors.IsMethodNotSupported(err) || apierrors.IsRequestEntityTooLargeError(err) ||
		(apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook"))
}

// known is the refusal of an object that is still in its back-off.
func (w *Writer) known(c Change) (Refusal, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.refusals[c.memory()]
	return r, ok && !c.DryRun && time.Now().Before(r.Again)
}

// Refuses reports whether the answer would be the Refusal that is known, so that
// there is nothing to pay for.
func (w *Writer) Refuses(c Change) bool {
	_, known := w.known(c)
	return known
}

// refuse remembers a refusal, and tells it if it is new.
func (w *Writer) refuse(c Change, err error, now time.Time) Refusal {
	if strings.Contains(err.Error(), "unknown field") {
		err = fmt.Errorf("the CRD of this cluster's Cilium does not know all of it; detnet's own policies need Cilium 1.16: %w", err)
	}
	w.mu.Lock()
	before, known := w.refusals[c.memory()]
	r := Refusal{Target: c.Target, Verb: c.Verb, Since: now, pause: firstPause, err: err}
	if known {
		r.Since, r.pause = before.Since, min(2*before.pause, longPause)
	}
	r.Again = now.Add(r.pause)
	w.refusals[c.memory()] = r
	for old, o := range w.refusals { // of objects that nobody writes to any more
		if now.Sub(o.Again) > 2*longPause {
			delete(w.refusals, old)
		}
	}
	w.publish()
	w.mu.Unlock()
	if !known || before.Words() != r.Words() {
		w.log.Warn("the API server refuses a change; the object stays as it is", "object", c.String(), "change", c.Verb.String(), "err", err)
		w.announce(c, err)
	}
	return r
}

// announce puts an Event on the object, or on what the change regards.
func (w *Writer) announce(c Change, err error) {
	if w.events == nil {
		return
	}
	about, note := c.Reference(), fmt.Sprintf("detnet may not %s it, so it stays as it is: %v", c.Verb, err)
	if c.Regards != nil {
		about, note = c.Regards, fmt.Sprintf("detnet may not %s %s: %v", c.Verb, c.Target, err)
	}
	w.events.Eventf(about, nil, corev1.EventTypeWarning, "Refused", "write", "%s", Note(note))
}

func (w *Writer) accepted(c Change) {
	if w.forget(c) {
		w.log.Info("a change that was refused is taken now", "object", c.String())
	}
}

func (w *Writer) forget(c Change) (known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known = w.refusals[c.memory()]; known {
		delete(w.refusals, c.memory())
		w.publish()
	}
	return known
}

// Resting reports whether a patch of an object of that name is in its back-off,
// for those who would have to read the object first.
func (w *Writer) Resting(kind, namespace, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for m, r := range w.refusals {
		if m.Verb == Patch && m.Kind == kind && m.Namespace == namespace && m.Name == name && time.Now().Before(r.Again) {
			return true
		}
	}
	return false
}

// publish is called with mu held.
func (w *Writer) publish() {
	all := make(map[types.UID]string, len(w.refusals))
	for t, r := range w.refusals {
		if t.Kind == "Pod" {
			all[t.UID] = r.Words()
		}
	}
	w.refused.Store(&all)
}

// Refused are the pods whose changes are refused, with the API server's words.
// The map is shared: do not modify.
func (w *Writer) Refused() map[types.UID]string { return *w.refused.Load() }
