package netpol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/workload/ask"
)

// ErrExempt reports a namespace that the webhook leaves alone.
var ErrExempt = errors.New("the webhook does not act on this namespace")

// Webhook asks detnet's webhook. It is for one goroutine.
type Webhook struct {
	Hook hook.Hook
	// Key proves who asks; empty until it is known.
	Key func() []byte

	entry    registrationv1.MutatingWebhook
	endpoint *hook.Endpoint
	until    time.Time // then the configuration is read again
	failed   error     // why nobody answers, until then as well
}

// How long the webhook's configuration is believed, and how long one that does
// not answer is not asked again.
const (
	believeHook = time.Minute
	restAfter   = 5 * time.Second
)

// Ask implements Asker.
func (w *Webhook) Ask(ctx context.Context, namespace, name string) (ask.Answer, error) {
	if err := w.reach(ctx); err != nil {
		return ask.Answer{}, err
	}
	if ok, err := hook.Concerns(w.entry, namespace); err != nil || !ok {
		return ask.Answer{}, errors.Join(ErrExempt, err)
	}
	pod, err := w.Hook.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ask.Answer{}, fmt.Errorf("read pod: %w", err)
	}
	_, review, err := hook.ReviewOf(pod)
	if err != nil {
		return ask.Answer{}, err
	}
	header := http.Header{}
	ask.Authorize(header, w.Key())
	status, body, err := w.endpoint.Post(ctx, ask.Path, header, review)
	if err != nil {
		w.rest(err)
		return ask.Answer{}, err
	}
	if status != http.StatusOK {
		return ask.Answer{}, fmt.Errorf("ask the webhook: it answers %d: %s", status, strings.TrimSpace(string(body[:min(len(body), 300)])))
	}
	var answer ask.Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		return ask.Answer{}, fmt.Errorf("ask the webhook: read the answer: %w", err)
	}
	return answer, nil
}

// reach finds the webhook, now and then anew.
func (w *Webhook) reach(ctx context.Context) error {
	if time.Now().Before(w.until) {
		return w.failed
	}
	if w.endpoint != nil {
		w.endpoint.Close()
		w.endpoint = nil
	}
	if len(w.Key()) == 0 {
		w.rest(errors.New("ask the webhook: the key that proves who asks is not known yet"))
		return w.failed
	}
	entry, err := w.Hook.Find(ctx)
	if err != nil {
		w.rest(err)
		return err
	}
	endpoint, err := w.Hook.Reach(ctx, entry)
	if err != nil {
		w.rest(err)
		return err
	}
	w.entry, w.endpoint, w.until, w.failed = entry, &endpoint, time.Now().Add(believeHook), nil
	return nil
}

// rest asks nobody for a while, so that many pods don't wait for one failure.
func (w *Webhook) rest(err error) { w.failed, w.until = err, time.Now().Add(restAfter) }
