package leader

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/detnet/detnet/internal/apitest"
)

// Against a real API server: a leader that can't reach it keeps its term and goes
// on to speak, but not to write; one whose lease another took stands by in the same
// process, and leads again under a greater number.
func TestALeaderThatWasReplacedStandsAgain(t *testing.T) {
	config := apitest.Start(t).Config
	var cut atomic.Bool
	first := elect(t, config, &cut)
	<-first.leads
	one := first.term.Load()

	cut.Store(true)
	for first.held.Leads() {
		time.Sleep(10 * time.Millisecond)
	}
	if !first.held.Speaks() {
		t.Error("a leader that hears of no other is silent")
	}
	cut.Store(false)
	for !first.held.Leads() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(first.over) != 0 {
		t.Error("the term ended although nobody else had the lease")
	}

	cut.Store(true)
	second := elect(t, config, new(atomic.Bool))
	<-second.leads
	two := second.term.Load()
	first.held.Depose() // as an agent does that the second has told
	if first.held.Speaks() {
		t.Error("a leader that was told of another speaks")
	}
	cut.Store(false)
	<-first.over
	if leads := first.held.Leads() || first.held.Speaks(); leads && second.held.Leads() { // alone, it leads anew: a machine that stood still cost the second its lease
		t.Error("it knows of another, and leads")
	}
	second.stop()
	<-first.leads
	if three := first.term.Load(); one == 0 || two <= one || three <= two {
		t.Errorf("terms %d, %d, %d", one, two, three)
	}
}

// Who may speak when, without a certain lead.
func TestSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(&resourcelock.LeaseLock{LockConfig: resourcelock.ResourceLockConfig{Identity: "me"}})
		mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me", LeaderTransitions: 4, AcquireTime: metav1.Now()}
		renew := func(r resourcelock.LeaderElectionRecord) {
			if err := h.noted(r, func() error { return nil }); err != nil {
				t.Error(err)
			}
		}
		speaks := func(when string, leads, want bool) {
			t.Helper()
			if h.Leads() != leads || h.Speaks() != want {
				t.Errorf("%s: leads %v, speaks %v; want %v, %v", when, h.Leads(), h.Speaks(), leads, want)
			}
		}
		speaks("before it has the lease", false, false)
		renew(mine)
		first := <-h.begun
		h.Depose()
		speaks("told of another while its lead is certain", true, true)
		time.Sleep(Renew)
		speaks("without a renewal", false, true)
		h.Depose()
		speaks("and told of another", false, false)
		renew(mine)
		speaks("renewed after all", true, true)
		time.Sleep(carry)
		speaks("without a word for long", false, false)
		mine.AcquireTime.Time = mine.AcquireTime.Truncate(time.Microsecond) // as it is read
		renew(mine)
		speaks("renewed after long", true, true)
		if len(h.begun) != 0 || first.ctx.Err() != nil {
			t.Error("another term began although nobody else had the lease")
		}
		again := mine
		again.LeaderTransitions++
		renew(again)
		if second := <-h.begun; first.ctx.Err() == nil || second.ctx.Err() != nil {
			t.Error("the lease changed hands, and the term goes on")
		}
		_ = h.noted(resourcelock.LeaderElectionRecord{}, func() error { return errors.New("no answer") }) // the test's own error
		speaks("given up", false, false)
	})
}

// Without an election one replica works until it is told to end.
func TestAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- (&Election{Workers: []Worker{workerFunc(func(ctx context.Context) error { close(begun); <-ctx.Done(); return nil })}}).Start(ctx)
	}()
	<-begun
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type workerFunc func(context.Context) error

func (f workerFunc) Start(ctx context.Context) error { return f(ctx) }
