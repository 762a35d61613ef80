package listen

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Turns lets a few requests at once to what takes memory and the processor to answer, such
// as figures. The others wait for their turn, by source: who asks over and over waits for
// itself. An answer that is read slowly has its place for holdTurn from its first octet on, and
// longer only where nobody waits.
type Turns struct {
	next http.Handler

	mu      sync.Mutex
	free    int
	waiting []*turn // in the order of arrival
	holding []*turn
	served  map[netip.Prefix]uint64 // of those who wait: when their source had its last turn
	count   uint64
}

const (
	holdTurn = 2 * time.Second
	// waitTurn is how long a request waits: what scrapes gives up after ten seconds, as a rule.
	waitTurn = 8 * time.Second
	// mostSources is how many are remembered; all of those that have a connection are fewer.
	mostSources = 4096
)

// turn is a request that waits for its place, or has it.
type turn struct {
	source netip.Prefix
	begins chan struct{} // closed as it gets its place
	end    func()        // ends the answer
	long   bool          // it was sent for holdTurn
}

// InTurn returns a handler that lets so many requests at once to next.
func InTurn(most int, next http.Handler) *Turns {
	return &Turns{next: next, free: most, served: map[netip.Prefix]uint64{}}
}

// ServeHTTP implements http.Handler.
func (t *Turns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mine := &turn{source: sourceOfText(r.RemoteAddr), begins: make(chan struct{})}
	mine.end = func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now()) } // where it can't be, the server's bound holds
	t.enter(mine)
	patience := time.NewTimer(waitTurn)
	defer patience.Stop()
	select {
	case <-mine.begins:
	case <-patience.C:
	case <-r.Context().Done():
	}
	if t.leave(mine) {
		http.Error(w, "too many requests at once: try again", http.StatusServiceUnavailable)
		return
	}
	answer := &answer{ResponseWriter: w, slow: func() { t.long(mine) }}
	defer func() {
		if answer.held != nil {
			answer.held.Stop()
		}
		t.done(mine)
	}()
	t.next.ServeHTTP(answer, r)
}

// answer is one whose time begins as it is sent: to make it may take as long as it takes.
type answer struct {
	http.ResponseWriter
	slow func() // called once it was sent for long
	held *time.Timer
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.held == nil {
		a.held = time.AfterFunc(holdTurn, a.slow)
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// enter gives a request its place or has it wait.
func (t *Turns) enter(mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, mine)
	t.give()
	t.hurry()
}

// leave takes a request that has no place from those who wait.
func (t *Turns) leave(mine *turn) (waited bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	return i >= 0
}

// long notes that an answer was sent for long.
func (t *Turns) long(mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine.long = true
	t.hurry()
}

func (t *Turns) done(mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding = slices.DeleteFunc(t.holding, func(h *turn) bool { return h == mine })
	t.free++
	t.give()
}

// give gives free places to those whose source had its last turn longest ago. The lock is held.
func (t *Turns) give() {
	for t.free > 0 && len(t.waiting) > 0 {
		best := 0
		for i, w := range t.waiting {
			if t.served[w.source] < t.served[t.waiting[best].source] {
				best = i
			}
		}
		chosen := t.waiting[best]
		t.waiting = slices.Delete(t.waiting, best, best+1)
		t.holding, t.free = append(t.holding, chosen), t.free-1
		t.count++
		t.served[chosen.source] = t.count
		close(chosen.begins)
	}
	if len(t.waiting) == 0 && len(t.holding) == 0 || len(t.served) > mostSources { // nobody is to be preferred any more
		clear(t.served)
	}
}

// hurry ends the answers that were sent for long, where somebody waits. The lock is
// held, so that it is not the next answer on the connection that ends.
func (t *Turns) hurry() {
	if len(t.waiting) == 0 {
		return
	}
	for _, h := range t.holding {
		if h.long {
			h.end()
		}
	}
}
