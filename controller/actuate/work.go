package actuate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Run writes until ctx ends. What still waits then is not written: another may
// decide meanwhile.
func (a *Actuator) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range max(1, a.workers) {
		workers.Go(func() { a.work(ctx) })
	}
	workers.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clear()
}

func (a *Actuator) work(ctx context.Context) {
	for a.await(ctx) && a.limiter.Wait(ctx) == nil {
		// Picked after the wait for a token, so that a cut that came
		// meanwhile goes first and the value is the newest.
		if w, try, ok := a.take(); ok {
			a.done(w, try, a.write(ctx, w, try))
		}
	}
}

// await blocks until something waits, or somebody held is due, and the API
// server is not known to be away; false when ctx has ended.
func (a *Actuator) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		pause, ready := a.due(time.Now())
		if ready && pause <= 0 {
			return true
		}
		if ready {
			sleep(ctx, pause)
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return false
}

// idle is how long nothing can become due that nobody submits.
const idle = time.Hour

// due is how long to wait: if ready for the API server, else for the first of
// those held.
func (a *Actuator) due(now time.Time) (pause time.Duration, ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pause = idle
	switch first, some := a.waiting.due(a.busy, now); {
	case some && first <= 0:
		return a.resume.Sub(now), true
	case some:
		pause = first
	}
	for pod, h := range a.held {
		if !a.busy[pod] {
			pause = min(pause, h.again.Sub(now))
		}
	}
	if pause <= 0 {
		return a.resume.Sub(now), true
	}
	return pause, false
}

// take returns what to write, or who is held and to be tried on dry run.
func (a *Actuator) take() (w waiting, try, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.signal() // for the next worker
	now := time.Now()
	if next, some := a.waiting.next(a.busy, now); some {
		delete(a.waiting, next.Pod)
		a.busy[next.Pod] = true
		return next, false, true
	}
	for pod, h := range a.held {
		if !a.busy[pod] && !now.Before(h.again) {
			a.busy[pod] = true
			return waiting{h.Change, now, now}, true, true
		}
	}
	return waiting{}, false, false
}

func (a *Actuator) write(ctx context.Context, w waiting, try bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	annotations := map[string]string{workload.AnnotationEgressBandwidth: w.To.String()}
	if w.record() {
		annotations[workload.AnnotationLimitDecision] = workload.DecisionText(w.Order, w.To.String())
	}
	if w.Before != "" {
		annotations[workload.AnnotationInitialBandwidth] = w.Before
	}
	send := a.to.Annotate
	if try {
		send = a.to.Try
	}
	if err := send(ctx, w.Pod, w.UID, annotations); err != nil {
		return fmt.Errorf("limit pod %s to %v: %w", w.Pod, w.To, err)
	}
	return nil
}

// done records the outcome; a write that may still succeed waits again, unless
// a newer value does.
func (a *Actuator) done(w waiting, try bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.signal()
	delete(a.busy, w.Pod)
	if errors.Is(err, context.Canceled) {
		return
	}
	refusal, refused := write.AsRefusal(err)
	if err == nil || write.Gone(err) || refused {
		if a.delay > 0 {
			a.log.Info("the API server answers again")
		}
		a.delay = 0
	}
	switch {
	case refused:
		a.metrics.failed("refused")
		newest := w.Change
		if next, ok := a.waiting[w.Pod]; ok && next.UID == w.UID {
			newest = next.Change
			delete(a.waiting, w.Pod)
		}
		a.held[w.Pod] = held{newest, refusal.Again}
	case err == nil && try, write.Gone(err):
		delete(a.held, w.Pod) // a law that sees it again asks for what is right now
		if err != nil {
			a.metrics.failed("gone")
		}
	case err == nil:
		a.written[w.Pod] = value{w.UID, w.To, time.Now()}
		a.metrics.wrote(w, w.waited(time.Now()))
		if next, ok := a.waiting[w.Pod]; ok && next.UID == w.UID && next.To == w.To {
			delete(a.waiting, w.Pod) // asked for again while it was on its way
		}
	default:
		a.metrics.failed("unreachable")
		a.backOff(err)
		if _, newer := a.waiting[w.Pod]; !newer && !try {
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
