package agents

import (
	"context"
	"maps"
	"slices"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// Assign makes streams and sessions match want, and keeps the usage of senders, which
// are in the order of their PodID. What stays is not disturbed, and costs a comparison of
// addresses: whoever gave a list must not change it. New streams live until ctx ends.
func (p *Pool) Assign(ctx context.Context, want []Assignment, senders []*inventory.Sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = found{}
	if len(want) == 0 || len(want) != len(p.want) || &want[0] != &p.want[0] { // most changes are limits
		p.want = want
		p.match(ctx, want)
	}
	inventory.EachChanged(p.senders, senders, func(was, is *inventory.Sender) {
		if is == nil {
			delete(p.rates, was.Pod)
		} else if r := p.rates[is.Pod]; r == nil || r.uid != is.UID { // a reborn pod starts anew
			p.rates[is.Pod] = &rates{uid: is.UID, node: is.Node, tx: window[plan.TxRate]{at: ratedAt}}
		}
	})
	p.senders = senders
}

// matching is what one list of assignments changes.
type matching struct {
	*Pool
	given map[*link][]*api.Session // whose sessions are others
	gone  map[string]bool          // sessions that nobody runs any more
	told  map[*link]bool           // who is to be told
}

// match makes streams and sessions what is wanted. The pool's lock is held.
func (p *Pool) match(ctx context.Context, want []Assignment) {
	m := matching{p, map[*link][]*api.Session{}, map[string]bool{}, map[*link]bool{}}
	wanted := make(map[*link]bool, len(want))
	for _, a := range want {
		l := p.byUID[a.UID]
		if l != nil && l.agent != a.Agent {
			m.drop(l)
			l = nil
		}
		if l == nil {
			l = p.dial(ctx, a.Agent)
			m.told[l] = true
		}
		wanted[l] = true
		if !sameList(l.sessions, a.Sessions) {
			m.given[l] = a.Sessions
		}
	}
	if len(p.byUID) > len(wanted) {
		for _, l := range p.byUID {
			if !wanted[l] {
				m.drop(l)
			}
		}
	}
	for l := range m.given {
		m.leave(l)
	}
	for l, sessions := range m.given {
		m.take(l, sessions)
	}
	for id := range m.gone {
		delete(p.numbers, p.sessions[id].number)
		delete(p.sessions, id)
	}
	p.hand(slices.Collect(maps.Keys(m.told)))
}

func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// dial begins a stream.
func (p *Pool) dial(ctx context.Context, a inventory.Agent) *link {
	l := newLink(p, a)
	ctx, l.cancel = context.WithCancel(ctx)
	p.links.Go(func() { l.run(ctx) })
	p.byUID[a.UID], p.byNode[a.Node] = l, append(p.byNode[a.Node], l)
	return l
}

// drop ends a stream, and tells who asked its reflector that it does not hold the key.
func (m *matching) drop(l *link) {
	l.cancel()
	m.leave(l)
	for _, at := range reflectors(l.agent) {
		if !l.holds {
			break
		}
		m.hold(at, false)
		for _, asking := range m.asking[at] {
			m.told[asking] = true
		}
	}
	delete(m.byUID, l.agent.UID)
	delete(m.told, l)
	node := l.agent.Node
	if m.byNode[node] = without(m.byNode[node], l); len(m.byNode[node]) == 0 {
		delete(m.byNode, node)
		delete(m.limiters, node)
		delete(m.limits, node)
	}
}

// leave takes the sessions from a link.
func (m *matching) leave(l *link) {
	for _, s := range l.sessions {
		if kept := m.sessions[s.GetId()]; kept != nil && kept.agent == l.agent.UID {
			m.gone[s.GetId()] = true
		}
		if at, ok := asked(s); ok {
			if m.asking[at] = without(m.asking[at], l); len(m.asking[at]) == 0 {
				delete(m.asking, at)
			}
		}
	}
	l.sessions = nil
}

// take gives a link sessions: what is known of those that another one ran stays.
func (m *matching) take(l *link, sessions []*api.Session) {
	l.sessions = sessions
	l.allowed.ask(len(sessions))
	m.told[l] = true
	for _, s := range sessions {
		kept := m.sessions[s.GetId()]
		if kept == nil {
			m.Pool.given++
			kept = &session{number: m.Pool.given, samples: window[plan.Sample]{at: sampledAt}}
			m.sessions[s.GetId()], m.numbers[kept.number] = kept, kept
		}
		kept.agent = l.agent.UID
		kept.watch.allow(s)
		delete(m.gone, s.GetId())
		if at, ok := asked(s); ok && !slices.Contains(m.asking[at], l) {
			m.asking[at] = append(m.asking[at], l)
		}
	}
}

// without is a list without one link, if it is there.
func without(all []*link, l *link) []*link {
	if i := slices.Index(all, l); i >= 0 {
		return slices.Delete(all, i, i+1)
	}
	return all
}
