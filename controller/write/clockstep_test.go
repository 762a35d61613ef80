package write

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/detnet/detnet/internal/clockstep"
)

// A back-off lasts as long as it was to last, also where the wall clock is set by an
// hour meanwhile. Times lie far apart, so that the test may take as long as it takes.
func TestASetClockMovesNoBackOff(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		w := New(nil, nil, nil, slog.New(slog.DiscardHandler))
		c := Change{Target: Target{Kind: "Pod", Namespace: "shop", Name: "p"}, Verb: Patch}
		_ = w.refuse(c, errors.New("no"), clockstep.Set(time.Now().Add(30*time.Minute), -by))
		if !w.Refuses(c) || !w.Resting("Pod", "shop", "p") {
			t.Errorf("set by %v: asked again early", by)
		}
		w.forget(c)
		_ = w.refuse(c, errors.New("no"), clockstep.Set(time.Now().Add(-firstPause), -by))
		if w.Refuses(c) || w.Resting("Pod", "shop", "p") {
			t.Errorf("set by %v: not asked again in time", by)
		}
	}
}
