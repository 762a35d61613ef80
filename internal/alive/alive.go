// Package alive tells whether the parts of a program that matter still get on
// with their work: a part that began a turn long ago and has not ended it hangs,
// and only a restart helps. Waiting for others is no turn; what waits for a
// network, a disk or another program ends its turn first.
package alive

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Patience is how long a turn may take that is done in milliseconds: a starved
// node makes it slow, only a fault makes it that slow.
const Patience = 30 * time.Second

// Watch watches the parts of one program. A nil Watch watches nothing.
type Watch struct {
	begun time.Time

	mu    sync.Mutex
	parts map[*Part]struct{}
}

// New returns a Watch without parts.
func New() *Watch { return &Watch{begun: time.Now(), parts: map[*Part]struct{}{}} }

// Part is something whose turns end soon, run by one goroutine at a time. A nil
// Part is watched by nobody.
type Part struct {
	watch *Watch
	name  string
	most  time.Duration
	since atomic.Int64 // the present turn began that many ns after the watch; 0: none
}

// Part adds a part whose turns take most, until it leaves.
func (w *Watch) Part(name string, most time.Duration) *Part {
	if w == nil {
		return nil
	}
	p := &Part{watch: w, name: name, most: most}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts[p] = struct{}{}
	return p
}

// Begin begins a turn.
func (p *Part) Begin() {
	if p != nil {
		p.since.Store(max(1, int64(time.Since(p.watch.begun))))
	}
}

// End ends the turn.
func (p *Part) End() {
	if p != nil {
		p.since.Store(0)
	}
}

// Leave ends the part: it is not watched any more.
func (p *Part) Leave() {
	if p == nil {
		return
	}
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	delete(p.watch.parts, p)
}

// Check names the parts that hang; nil if none does. Its signature is that of a
// healthz.Checker of controller-runtime.
func (w *Watch) Check(*http.Request) error {
	if w == nil {
		return nil
	}
	now := time.Since(w.begun)
	var hanging []string
	w.mu.Lock()
	for p := range w.parts {
		since := time.Duration(p.since.Load())
		if lasts := now - since; since > 0 && lasts > p.most {
			hanging = append(hanging, fmt.Sprintf("%s: its turn has lasted %v, of %v at most", p.name, lasts.Round(time.Second), p.most))
		}
	}
	w.mu.Unlock()
	if len(hanging) == 0 {
		return nil
	}
	slices.Sort(hanging)
	return fmt.Errorf("hangs, a restart is needed: %s", strings.Join(hanging, "; "))
}

// ServeHTTP answers a liveness probe.
func (w *Watch) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if err := w.Check(r); err != nil {
		http.Error(out, err.Error(), http.StatusServiceUnavailable)
	}
}

// Handler watches the requests to next, each of which takes most.
func (w *Watch) Handler(name string, most time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		p := w.Part(name, most)
		defer p.Leave()
		p.Begin()
		next.ServeHTTP(out, r)
	})
}
