package agents

import (
	"sync"
	"time"
)

// watchdog ends a stream that is silent. What was not read, since this process came to
// nothing, is no silence of the agent's: where it is late with its work, or the watchdog itself
// comes late, an agent has its time again. A new stream is more work than an old one.
type watchdog struct {
	end    func()
	behind func(now time.Time) bool

	mu    sync.Mutex
	timer *time.Timer
	given time.Duration
	due   time.Time
	again int // times that it was given anew
}

const (
	mostAgain = 2
	ownDelay  = 250 * time.Millisecond // by which a timer is late only where nothing else comes to anything either
)

// watch has end called once nothing was heard for as long as given.
func watch(given time.Duration, behind func(now time.Time) bool, end func()) *watchdog {
	w := &watchdog{end: end, behind: behind, given: given, due: time.Now().Add(given)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(given, w.fired)
	return w
}

// heard begins the time of silence anew.
func (w *watchdog) heard(given time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given, w.due, w.again = given, time.Now().Add(given), 0
	w.timer.Reset(given)
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

func (w *watchdog) fired() {
	if !w.waits(time.Now()) {
		w.end()
	}
}

// waits reports whether the agent is given more time.
func (w *watchdog) waits(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := now.Sub(w.due)
	if late < 0 { // it was heard just now
		return true
	}
	if w.again == mostAgain || late < ownDelay && !w.behind(now) {
		return false
	}
	w.again, w.due = w.again+1, now.Add(w.given)
	w.timer.Reset(w.given)
	return true
}
