package leader

import (
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/detnet/detnet/internal/clockstep"
)

// A wall clock that is set by an hour, ahead or back, neither ends a lead nor prolongs
// one: what was noted before differs from now as if it had been noted with the clock set
// the other way. Times lie an hour apart, so that the test may take as long as it takes.
func TestASetClockMovesNoLead(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		h := newHeld(&resourcelock.LeaseLock{LockConfig: resourcelock.ResourceLockConfig{Identity: "me"}})
		mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me", LeaderTransitions: 4}
		if err := h.noted(mine, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got := clockstep.Set(h.until, by).Sub(h.renewed); got != Renew { // both are monotonic
			t.Errorf("the lead is certain for %v, want %v", got, Renew)
		}
		now := time.Now()
		h.until, h.renewed = clockstep.Set(now.Add(30*time.Minute), -by), clockstep.Set(now, -by)
		if h.Depose(); !h.Leads() || !h.Speaks() {
			t.Errorf("set by %v: the lead is lost early", by)
		}
		h.until = clockstep.Set(now, -by)
		if h.Leads() || !h.Speaks() {
			t.Errorf("set by %v: the lead lasts on, or who led falls silent early", by)
		}
		h.renewed = clockstep.Set(now.Add(-carry), -by)
		if h.Speaks() {
			t.Errorf("set by %v: speaks on", by)
		}
	}
}
