package controller

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// The room of what was seen is used again, and never while somebody is shown it: whoever
// asks, as often as he likes, sees all of one tick.
func TestStatusWhileRoomIsUsedAgain(t *testing.T) {
	snapshot := &inventory.Snapshot{}
	for i := range 20 {
		a, s := app(fmt.Sprintf("app-%02d", i), workload.Enforce), sender(fmt.Sprintf("pod-%02d", i), workload.Enforce)
		snapshot.Apps, snapshot.Senders = append(snapshot.Apps, a), append(snapshot.Senders, s)
	}
	stage := &stage{snapshot: snapshot}
	l := stage.loop(Settings{Law: constant{plan.Calm, 100 * mbit}, Mode: workload.Enforce, Vantages: 2})
	tm := &term{loop: l}
	now := time.Now()
	tm.tick(t.Context(), now)
	ended := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				s := l.Status()
				if len(s.Apps) != 20 || len(s.Senders) != 20 || s.Senders[7].LimitBps != 100*mbit || s.Apps[7].Pod != "factory/app-07" {
					t.Errorf("%d apps, %d senders, one with limit %v", len(s.Apps), len(s.Senders), s.Senders[7].LimitBps)
					return
				}
			}
		})
	}
	for range 300 {
		now = now.Add(Period)
		tm.tick(t.Context(), now)
	}
	close(ended)
	asking.Wait()
	for range 3 { // nobody asks any more
		now = now.Add(Period)
		tm.tick(t.Context(), now)
	}
	if cap(tm.room.senders) < 20 || tm.room.senders[0].Rates != nil {
		t.Error("room that nobody was shown is not used again, or keeps what was measured")
	}
}

// What a pod sends on and off comes in windows of unequal length, shorter where it changes:
// each counts for as long as it was.
func TestUsageIsByTheLengthOfWindows(t *testing.T) {
	now := time.Now()
	var seen plan.Sender
	for age := 1100 * time.Millisecond; age >= 100*time.Millisecond; age -= 100 * time.Millisecond {
		seen.Rates = append(seen.Rates, plan.TxRate{At: plan.At(now.Add(-age))})
	}
	seen.Rates = append(seen.Rates, plan.TxRate{At: plan.At(now.Add(-50 * time.Millisecond)), Tx: 100 * mbit}, plan.TxRate{At: plan.At(now)})
	got := showSender(&inventory.Sender{}, &seen, now)
	if want := 5 * mbit; !got.Known || max(got.UsageBps-want, want-got.UsageBps) > 1000 {
		t.Errorf("known %v, %v over the last second, want %v", got.Known, got.UsageBps, want)
	}
	if got := showSender(&inventory.Sender{}, &seen, now.Add(1001*time.Millisecond)); got.Known || got.UsageBps != 0 {
		t.Errorf("known %v, %v once nothing was told for a second", got.Known, got.UsageBps)
	}
}
