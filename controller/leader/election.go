package leader

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Worker works for as long as a leader leads, and again when it leads again.
type Worker interface{ Start(context.Context) error }

// Election has workers work while this replica leads. One that loses the lead stays
// and stands again: an API server that is slow now and then costs no process.
type Election struct {
	Held    *Held // nil: there is no other replica
	Workers []Worker
	Log     *slog.Logger
}

// NeedLeaderElection is false: this is the election.
func (*Election) NeedLeaderElection() bool { return false }

// Start stands for election until ctx ends, and gives the lease up then.
func (e *Election) Start(ctx context.Context) error {
	if e.Held == nil {
		return e.work(ctx)
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: Lease, Lock: e.Held, LeaseDuration: Duration, RenewDeadline: Renew, RetryPeriod: look,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return fmt.Errorf("stand for election: %w", err)
	}
	standing, end := context.WithCancel(context.WithoutCancel(ctx)) // the lease outlasts the work
	defer end()
	var stands errgroup.Group
	stands.Go(func() error { e.stand(standing, elector); return nil })
	if e.Held.watching != nil {
		stands.Go(func() error { e.Held.watch(standing, e.Held.watching); return nil })
	}
	for ctx.Err() == nil && err == nil {
		select {
		case <-ctx.Done():
		case t := <-e.Held.begun:
			err = e.lead(ctx, t)
		}
	}
	end()
	_ = stands.Wait() // it returns none
	e.Held.release(context.WithoutCancel(ctx), e.Log)
	return err
}

// stand renews the lease, or waits for it. client-go would log each try.
func (e *Election) stand(ctx context.Context, elector *leaderelection.LeaderElector) {
	ctx = klog.NewContext(ctx, logr.Discard())
	for ctx.Err() == nil {
		elector.Run(ctx)
		if ctx.Err() == nil && e.Held.Speaks() {
			e.Log.Warn("the lease was not renewed in time: nothing is written until it is; where agents enforce, limits go on to move unless another replica leads", "err", e.Held.failure())
		}
	}
}

// lead works until t is over.
func (e *Election) lead(ctx context.Context, t *term) error {
	working, cancel := context.WithCancel(t.ctx) // which ends before another number is known
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	err := e.work(working) //nolint:contextcheck // it works for as long as the term lasts
	if t.ctx.Err() != nil {
		e.Log.Warn("another replica leads, or may: this one stands by")
	}
	return err
}

func (e *Election) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range e.Workers {
		group.Go(func() error { return w.Start(ctx) })
	}
	return group.Wait()
}

// release gives the lease up, if it is this replica's, so that the next one does
// not have to wait until it runs out. Nobody uses h at the same time.
func (h *Held) release(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, Renew)
	defer cancel()
	now, _, err := h.Get(ctx)
	if err == nil && now.HolderIdentity == h.Identity() {
		err = h.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions: now.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now.RenewTime, AcquireTime: now.AcquireTime,
		})
	}
	if err != nil {
		log.Warn("the lease was not given up: another replica leads when it has run out", "err", err)
	}
}

// failure is why the last try to renew failed.
func (h *Held) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}
