package alive

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A turn that does not end is told by the name of its part; one that ended, a
// part that waits, and one that left are not.
func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		hangs, turns, waits, left := w.Part("hangs", Patience), w.Part("turns", Patience), w.Part("waits", Patience), w.Part("left", Patience)
		hangs.Begin()
		waits.Begin()
		waits.End()
		left.Begin()
		left.Leave()
		for range 4 {
			turns.Begin()
			time.Sleep(Patience / 4)
			turns.End()
			if err := w.Check(nil); err != nil {
				t.Errorf("within its time: %v", err)
			}
		}
		time.Sleep(time.Second)
		err := w.Check(nil)
		if err == nil || !strings.Contains(err.Error(), "hangs: its turn has lasted 31s, of 30s at most") {
			t.Errorf("check = %v, want the part that hangs", err)
		}
		for _, other := range []string{"turns", "waits", "left"} {
			if err != nil && strings.Contains(err.Error(), other) {
				t.Errorf("check = %v, which blames %s", err, other)
			}
		}
		hangs.End()
		if err := w.Check(nil); err != nil {
			t.Errorf("after all turns ended: %v", err)
		}
	})
}

// A request that is never answered makes the program unhealthy, and only that.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := New(), make(chan struct{})
		h := w.Handler("admission", time.Minute, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		code := func() int {
			answer := httptest.NewRecorder()
			w.ServeHTTP(answer, nil)
			return answer.Code
		}
		go h.ServeHTTP(httptest.NewRecorder(), nil)
		time.Sleep(time.Minute)
		if got := code(); got != http.StatusOK {
			t.Errorf("after a minute: %d", got)
		}
		time.Sleep(time.Second)
		if got := code(); got != http.StatusServiceUnavailable {
			t.Errorf("after more than a minute: %d", got)
		}
		close(release)
		synctest.Wait()
		if got := code(); got != http.StatusOK {
			t.Errorf("after the answer: %d", got)
		}
	})
}

func TestNobodyWatches(t *testing.T) {
	var w *Watch
	p := w.Part("x", 0)
	p.Begin()
	p.End()
	p.Leave()
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}
