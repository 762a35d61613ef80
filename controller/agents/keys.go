package agents

import (
	"crypto/rand"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
)

// keySize is that of the hash which signs (RFC 2104 §3).
const keySize = 32

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// reflectors is where an agent answers probes: at an address of each family that it
// has.
func reflectors(a inventory.Agent) []netip.AddrPort {
	var at []netip.AddrPort
	for _, ip := range []string{a.IP, a.IP2} {
		if addr, err := netip.ParseAddr(ip); err == nil {
			at = append(at, netip.AddrPortFrom(addr, a.STAMP))
		}
	}
	return at
}

// asked is whose reflector a session asks, if it is an agent's; false: nobody's.
func asked(s *api.Session) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(s.GetHost())
	return netip.AddrPortFrom(addr, uint16(s.GetPort())), err == nil && s.GetProtocol() == api.Protocol_PROTOCOL_STAMP
}

// hand gives agents their sessions and the key. A session towards a reflector
// that says it holds the key is authenticated; an app's own reflector, or one of
// an older agent, is asked as before. The pool's lock is held.
func (p *Pool) hand(to []*link) {
	for _, l := range to {
		sessions := make([]*api.Session, len(l.sessions))
		for i, s := range l.sessions {
			sessions[i] = proto.CloneOf(s)
			sessions[i].Number = p.sessions[s.GetId()].number
			if at, ok := asked(s); ok {
				sessions[i].Authenticated = p.holding[at] > 0
			}
		}
		l.given = sessions
		p.push(l)
	}
}

// push gives one agent all that it is to know. The pool's lock is held.
func (p *Pool) push(l *link) {
	a := &api.Assignment{Sessions: l.given, StampKey: p.key, Packed: true, LeastReportMs: uint32(p.pace.Least.Milliseconds())}
	if !p.pace.Busy[l.agent.UID] {
		a.CalmReportMs = uint32(p.pace.Calm.Milliseconds())
	}
	if l.takes {
		a.Limits = p.limits[l.agent.Node]
	}
	l.assign(a)
}

// holds notes what an agent says of its reflector, and tells those who ask that one.
// The pool's lock is held.
func (p *Pool) holds(from inventory.Agent, holds bool) {
	l := p.byUID[from.UID]
	if l == nil || l.agent != from || l.holds == holds {
		return
	}
	l.holds = holds
	for _, at := range reflectors(from) {
		p.hold(at, holds)
		p.hand(p.asking[at])
	}
}

// hold counts one more or one less that holds the key. The pool's lock is held.
func (p *Pool) hold(at netip.AddrPort, holds bool) {
	if holds {
		p.holding[at]++
	} else if p.holding[at]--; p.holding[at] == 0 {
		delete(p.holding, at)
	}
}

// lost notes that an agent is silent: one that comes back has no key at first, and
// takes no limits before it says so.
func (p *Pool) lost(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byUID[l.agent.UID] != l {
		return
	}
	p.holds(l.agent, false)
	l.takes = false // another version may come back
	p.push(l)
}
