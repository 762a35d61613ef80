package actuate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/detnet/detnet/workload"
)

// Run writes until ctx ends.
func (a *Actuator) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range max(1, a.workers) {
		workers.Go(func() { a.work(ctx) })
	}
	workers.Wait()
}

func (a *Actuator) work(ctx context.Context) {
	for a.await(ctx) && a.limiter.Wait(ctx) == nil {
		// Picked after the wait for a token, so that a cut that came
		// meanwhile goes first and the value is the newest.
		if w, ok := a.take(); ok {
			a.done(w, a.write(ctx, w))
		}
	}
}

// await blocks until something waits and the API server is not known to be
// away; false when ctx has ended.
func (a *Actuator) await(ctx context.Context) bool {
	for {
		a.mu.Lock()
		ready := a.waiting.next(a.busy) != nil
		pause := time.Until(a.resume)
		a.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return false
		case ready && pause <= 0:
			return true
		case ready:
			sleep(ctx, pause)
			continue
		}
		select {
		case <-ctx.Done():
			return false
		case <-a.wake:
		}
	}
}

func (a *Actuator) take() (waiting, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiting.next(a.busy)
	if w == nil {
		return waiting{}, false
	}
	delete(a.waiting, w.Pod)
	a.busy[w.Pod] = true
	a.signal() // for the next worker
	return *w, true
}

func (a *Actuator) write(ctx context.Context, w waiting) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	annotations := map[string]string{workload.EgressBandwidth: w.To.String()}
	if w.Before != "" {
		annotations[workload.InitialBandwidth] = w.Before
	}
	err := a.to.Annotate(ctx, w.Pod, w.UID, annotations)
	if err != nil {
		return fmt.Errorf("limit pod %s to %v: %w", w.Pod, w.To, err)
	}
	return nil
}

// done records the outcome; a write that may still succeed waits again, unless
// a newer value does.
func (a *Actuator) done(w waiting, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.signal()
	delete(a.busy, w.Pod)
	if errors.Is(err, context.Canceled) {
		return
	}
	if err == nil || Gone(err) || refused(err) {
		if a.delay > 0 {
			a.log.Info("the API server answers again")
		}
		a.delay = 0
	}
	switch {
	case err == nil:
		a.written[w.Pod] = write{w.UID, w.To, time.Now()}
		a.metrics.wrote(w, time.Since(w.since))
		if next, ok := a.waiting[w.Pod]; ok && next.UID == w.UID && next.To == w.To {
			delete(a.waiting, w.Pod) // asked for again while it was on its way
		}
	case Gone(err):
		a.metrics.failed("gone")
	case refused(err):
		a.metrics.failed("refused")
		a.log.Error("the API server refuses a limit: check the controller's role", "pod", w.Pod.String(), "err", err)
	default:
		a.metrics.failed("unreachable")
		a.backOff(err)
		if _, newer := a.waiting[w.Pod]; !newer {
			a.waiting[w.Pod] = w
		}
	}
}

// backOff keeps all workers from an API server that does not answer. Writes that
// fail together count once. It is called with mu held.
func (a *Actuator) backOff(err error) {
	now := time.Now()
	if now.Before(a.resume) {
		return
	}
	if a.delay == 0 {
		a.log.Warn("the API server does not take limits; those in force stay, the newest are written when it does", "err", err)
	}
	a.delay = min(max(2*a.delay, firstDelay), maxDelay)
	a.resume = now.Add(a.delay)
}

// refused: trying again would give the same answer.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

func (a *Actuator) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
