package agents

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials/insecure"
)

// Silence ends a stream; what this process did not come to read is no silence, for a
// while.
func TestOwnDelayIsNoSilence(t *testing.T) {
	for _, tt := range []struct {
		name     string
		strained bool
		heard    time.Duration // 0: never
		want     time.Duration
	}{
		{"silent", false, 0, silence},
		{"heard once", false, time.Second, time.Second + silence + calmPause},
		{"strained", true, 0, 3 * silence},
		{"strained, and heard in the second time", true, 3 * time.Second, 3*time.Second + 3*(silence+calmPause)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, ended := time.Now(), make(chan time.Time, 1)
				w := watch(silence, func(time.Time) bool { return tt.strained }, func() { ended <- time.Now() })
				defer w.stop()
				if tt.heard > 0 {
					time.Sleep(tt.heard)
					w.heard(patience(true))
				}
				if got := (<-ended).Sub(begun); got != tt.want {
					t.Errorf("the stream ends after %v, want %v", got, tt.want)
				}
			})
		})
	}
	w := watch(time.Hour, func(time.Time) bool { return false }, func() {})
	defer w.stop()
	if w.waits(w.due) || !w.waits(w.due.Add(ownDelay)) || !w.waits(w.due.Add(ownDelay)) || w.waits(w.due.Add(ownDelay)) {
		t.Error("a watchdog that comes late gives the time again twice")
	}
}

// A pool is late where it was asked to take less, or its loop does not come round.
func TestWhoIsLateIsKnownByTheLoop(t *testing.T) {
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	if !p.late(epoch) {
		t.Error("a loop that has never looked is in time")
	}
	p.Look(&Look{}, epoch)
	if p.late(epoch.Add(time.Second)) || !p.late(epoch.Add(3*time.Second)) {
		t.Error("a loop that looks each second is late, or one that does not is in time")
	}
	for _, strained := range []bool{false, true} {
		if p.Pace(Pace{Least: time.Second, Strained: strained}); p.late(epoch) != strained {
			t.Errorf("strained %v, a pool that was asked to take less is late: %v", strained, !strained)
		}
	}
}

// So many streams begin at once, and one that waits for something else than the processor
// delays the others for a moment only.
func TestStreamsBeginInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
		var all []func()
		for range dialsAtOnce {
			begun, err := p.turn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, begun)
		}
		since := time.Now()
		var next []time.Duration
		for i := range 2 {
			if i == 0 {
				time.AfterFunc(dialTurn/4, all[0])
			}
			begun, err := p.turn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			next = append(next, time.Since(since))
			defer begun()
		}
		if next[0] != dialTurn/4 || next[1] != dialTurn {
			t.Errorf("the next two begin after %v, want %v, %v", next, dialTurn/4, dialTurn)
		}
		for _, begun := range all {
			begun()
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range dialsAtOnce - 2 {
			if _, err := p.turn(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if _, err := p.turn(ctx); err == nil {
			t.Error("a turn is waited for after the end")
		}
		time.Sleep(dialTurn)
	})
}
