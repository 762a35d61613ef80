package promql

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// turns shares the places at the server among namespaces: a place that comes free
// goes to who holds fewest, of those to whose last turn is longest ago. However
// many slow queries one has, the others wait for one answer and not for all.
type turns struct {
	mu      sync.Mutex
	waiting []*waiter // in the order in which they came
	places  map[string]*place
	asking  map[string]bool // namespaces that are remembered
	held    int
	turn    uint64
}

// place is what a namespace holds, and when it had its last turn. It is remembered
// for as long as the namespace asks for anything: one that pauses between two
// questions does not come back as if it had never had a turn.
type place struct {
	held int
	last uint64
}

// waiter is a query that waits, for one of its namespaces.
type waiter struct {
	names []string
	grant chan string // for which of them it has its turn
}

// perNamespace leaves a place to others, whatever one namespace asks.
const perNamespace = atOnce - 1

func newTurns() *turns { return &turns{places: map[string]*place{}} }

// take waits for a turn of one of the namespaces and returns how to give it back.
func (t *turns) take(ctx context.Context, namespaces []string) (done func(), err error) {
	w := &waiter{names: namespaces, grant: make(chan string, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.next()
	t.mu.Unlock()
	select {
	case namespace := <-w.grant:
		return func() { t.give(namespace) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.waiting = slices.DeleteFunc(t.waiting, func(o *waiter) bool { return o == w })
	t.forget(namespaces)
	t.mu.Unlock()
	select {
	case namespace := <-w.grant: // at the last moment
		t.give(namespace)
	default:
	}
	return nil, ctx.Err()
}

// remember says which namespaces ask for anything.
func (t *turns) remember(asking map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking = asking
	t.forget(slices.Collect(maps.Keys(t.places)))
}

// give returns a place.
func (t *turns) give(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held--
	t.places[namespace].held--
	t.next()
	t.forget([]string{namespace})
}

// next gives free places to those whose turn it is. It is called with mu held.
func (t *turns) next() {
	for t.held < atOnce {
		var best *waiter
		var of string
		for _, w := range t.waiting {
			for _, namespace := range w.names {
				if t.of(namespace).held < perNamespace && (best == nil || t.before(namespace, of)) {
					best, of = w, namespace
				}
			}
		}
		if best == nil {
			return
		}
		t.waiting = slices.DeleteFunc(t.waiting, func(o *waiter) bool { return o == best })
		t.turn++
		t.held++
		p := t.of(of)
		p.held, p.last = p.held+1, t.turn
		best.grant <- of
		t.forget(best.names)
	}
}

func (t *turns) before(a, b string) bool {
	x, y := t.of(a), t.of(b)
	return x.held < y.held || x.held == y.held && x.last < y.last
}

func (t *turns) of(namespace string) *place {
	p := t.places[namespace]
	if p == nil {
		p = &place{}
		t.places[namespace] = p
	}
	return p
}

// forget drops what need not be remembered. It is called with mu held.
func (t *turns) forget(namespaces []string) {
	for _, namespace := range namespaces {
		waits := slices.ContainsFunc(t.waiting, func(w *waiter) bool { return slices.Contains(w.names, namespace) })
		if p := t.places[namespace]; p != nil && p.held == 0 && !waits && !t.asking[namespace] {
			delete(t.places, namespace)
		}
	}
}
