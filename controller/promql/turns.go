package promql

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// turns shares the places at the server among namespaces, and what comes to one among
// its apps: a place that comes free goes to who holds fewest, of those to whose last
// turn is longest ago. However many slow queries one has, the others wait for one
// answer and not for all.
type turns struct {
	mu      sync.Mutex
	waiting []*waiter // in the order in which they came
	places  map[account]*place
	asking  map[account]bool // who is remembered
	held    int
	turn    uint64
}

// account is on whose account something is asked: an app's, or its namespace's, which
// has no app.
type account struct{ namespace, app string }

func (a account) whole() account { return account{namespace: a.namespace} }

// place is what a namespace or an app holds, and when it had its last turn. It is
// remembered for as long as anything is asked for it: one that pauses between two
// questions does not come back as if it had never had a turn.
type place struct {
	held int
	last uint64
}

// waiter is a query that waits, for one of its apps.
type waiter struct {
	names []account
	grant chan account // for which of them it has its turn
}

// perNamespace leaves a place to others, whatever one namespace asks.
const perNamespace = atOnce - 1

func newTurns() *turns { return &turns{places: map[account]*place{}} }

// take waits for a turn of one of the apps and returns how to give it back.
func (t *turns) take(ctx context.Context, names []account) (done func(), err error) {
	w := &waiter{names: names, grant: make(chan account, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.next()
	t.mu.Unlock()
	select {
	case of := <-w.grant:
		return func() { t.give(of) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.waiting = slices.DeleteFunc(t.waiting, func(o *waiter) bool { return o == w })
	t.forget(names)
	t.mu.Unlock()
	select {
	case of := <-w.grant: // at the last moment
		t.give(of)
	default:
	}
	return nil, ctx.Err()
}

// remember says who asks for anything.
func (t *turns) remember(asking map[account]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking = map[account]bool{}
	for of := range asking {
		t.asking[of], t.asking[of.whole()] = true, true
	}
	t.forget(slices.Collect(maps.Keys(t.places)))
}

// give returns a place.
func (t *turns) give(of account) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held--
	t.of(of).held--
	t.of(of.whole()).held--
	t.next()
	t.forget([]account{of})
}

// next gives free places to those whose turn it is. It is called with mu held.
func (t *turns) next() {
	for t.held < atOnce {
		var best *waiter
		var of account
		for _, w := range t.waiting {
			for _, name := range w.names {
				if t.of(name.whole()).held < perNamespace && (best == nil || t.before(name, of)) {
					best, of = w, name
				}
			}
		}
		if best == nil {
			return
		}
		t.waiting = slices.DeleteFunc(t.waiting, func(o *waiter) bool { return o == best })
		t.turn++
		t.held++
		for _, p := range []*place{t.of(of), t.of(of.whole())} {
			p.held, p.last = p.held+1, t.turn
		}
		best.grant <- of
		t.forget(best.names)
	}
}

// before orders namespaces, and within one its apps.
func (t *turns) before(a, b account) bool {
	x, y := t.of(a.whole()), t.of(b.whole())
	if a.namespace == b.namespace {
		x, y = t.of(a), t.of(b)
	}
	return x.held < y.held || x.held == y.held && x.last < y.last
}

func (t *turns) of(name account) *place {
	p := t.places[name]
	if p == nil {
		p = &place{}
		t.places[name] = p
	}
	return p
}

// forget drops what need not be remembered. It is called with mu held.
func (t *turns) forget(names []account) {
	for _, name := range names {
		for _, of := range []account{name, name.whole()} {
			if p := t.places[of]; p == nil || p.held > 0 || t.asking[of] {
				continue // first what costs nothing: of thousands nearly all are asking
			}
			if !slices.ContainsFunc(t.waiting, func(w *waiter) bool {
				return slices.ContainsFunc(w.names, func(n account) bool { return n == of || n.whole() == of })
			}) {
				delete(t.places, of)
			}
		}
	}
}
