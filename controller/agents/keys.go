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

// hand gives every agent its sessions and the key. A session towards a reflector
// that says it holds the key is authenticated; an app's own reflector, or one of
// an older agent, is asked as before. The pool's lock is held.
func (p *Pool) hand() {
	holding := map[netip.AddrPort]bool{}
	for _, l := range p.byUID {
		if addr, err := netip.ParseAddr(l.agent.IP); err == nil && l.holds {
			holding[netip.AddrPortFrom(addr, l.agent.STAMP)] = true
		}
	}
	for _, l := range p.byUID {
		sessions := make([]*api.Session, len(l.sessions))
		for i, s := range l.sessions {
			sessions[i] = proto.CloneOf(s)
			sessions[i].Number = p.sessions[s.GetId()].number
			addr, err := netip.ParseAddr(s.GetHost())
			if err != nil || s.GetProtocol() != api.Protocol_PROTOCOL_STAMP || !holding[netip.AddrPortFrom(addr, uint16(s.GetPort()))] {
				continue
			}
			sessions[i].Authenticated = true
		}
		l.given = sessions
		p.push(l)
	}
}

// push gives one agent all that it is to know. The pool's lock is held.
func (p *Pool) push(l *link) {
	a := &api.Assignment{Sessions: l.given, StampKey: p.key, Packed: true}
	if !p.busy[l.agent.UID] {
		a.CalmReportMs = uint32(p.calm.Milliseconds())
	}
	if l.takes {
		a.Limits = p.limits[l.agent.Node]
	}
	l.assign(a)
}

// holds notes what an agent says of its reflector. The pool's lock is held.
func (p *Pool) holds(from inventory.Agent, holds bool) {
	if l := p.byUID[from.UID]; l != nil && l.agent == from && l.holds != holds {
		l.holds = holds
		p.hand()
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
	held := l.holds
	l.holds, l.takes = false, false // another version may come back
	if held {
		p.hand()
	} else {
		p.push(l)
	}
}
