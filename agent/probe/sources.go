package probe

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// sources is what a reflector remembers of those that send to it. Both tables
// are bounded, and so is each source's part of the sessions: who does not fit is
// served by a shared limit, and without a count.
type sources struct {
	perSecond rate.Limit
	limits    map[netip.Addr]*source
	others    *rate.Limiter // of all that do not fit
	sessions  map[sessionKey]*counted
	sweepAt   time.Time
}

const (
	maxSources = 4096
	sessionsOf = 256 // of one source
	forgetIn   = time.Minute
	burstOf    = 4 // a source may be this part of a second ahead of its rate
)

type source struct {
	limiter  *rate.Limiter
	seen     time.Time
	sessions int
}

// sourceOf is who counts as one source: an IPv6 host has a whole /64 to send
// from.
func sourceOf(from netip.Addr) netip.Addr {
	if from.Is4() {
		return from
	}
	prefix, err := from.WithZone("").Prefix(64)
	if err != nil {
		return from
	}
	return prefix.Addr()
}

type sessionKey struct {
	from netip.AddrPort
	ssid uint16
	auth bool
}

// counted is the state of one session.
type counted struct {
	rx, tx  uint32
	highest uint32
	window  uint64          // which of the 64 numbers up to highest came
	newest  stamp.Timestamp // of the sender, on its packet highest
	seen    time.Time
}

func newSources(perSecond float64) *sources {
	return &sources{
		perSecond: rate.Limit(perSecond),
		limits:    map[netip.Addr]*source{},
		others:    rate.NewLimiter(rate.Limit(perSecond), int(perSecond/burstOf)+1),
		sessions:  map[sessionKey]*counted{},
	}
}

// admit reports whether from may send one more packet now.
func (s *sources) admit(from netip.Addr, now time.Time) bool {
	s.sweep(now)
	from = sourceOf(from)
	known := s.limits[from]
	if known == nil {
		if len(s.limits) >= maxSources {
			return s.others.AllowN(now, 1)
		}
		known = &source{limiter: rate.NewLimiter(s.perSecond, int(s.perSecond/burstOf)+1)}
		s.limits[from] = known
	}
	known.seen = now
	return known.limiter.AllowN(now, 1)
}

// count takes packet seq of a session, sent at the sender's time at, into the
// session's statistics, once, and returns them; false if the session does not
// fit.
func (s *sources) count(key sessionKey, seq uint32, at stamp.Timestamp, now time.Time) (rx, tx uint32, ok bool) {
	c := s.sessions[key]
	if c == nil {
		of := s.limits[sourceOf(key.from.Addr())]
		if len(s.sessions) >= maxSources || of == nil || of.sessions >= sessionsOf {
			return 0, 0, false
		}
		of.sessions++
		c = &counted{highest: seq - 1}
		s.sessions[key] = c
	}
	if c.isNew(seq, at, now) {
		*c = counted{highest: seq - 1}
	}
	c.seen = now
	if c.fresh(seq) {
		c.rx++
	}
	if c.highest == seq {
		c.newest = at
	}
	c.tx++
	return c.rx, c.tx, true
}

// Signs of a sender that began anew with the address, port and identifier of a
// session that is still remembered.
const (
	farAhead  = 1 << 20 // nobody loses as many packets in a row
	farBehind = 64      // what the window holds
	pause     = time.Second
)

// isNew reports whether packet seq is the beginning of another session than c: a
// number that was there already, or was passed long ago, but sent later than the
// newest packet. A copy or a straggler of the session itself is older.
func (c *counted) isNew(seq uint32, at stamp.Timestamp, now time.Time) bool {
	ahead := int32(seq - c.highest)
	switch {
	case c.tx == 0:
		return false
	case ahead > 0:
		return ahead > farAhead
	case ahead <= -farBehind:
		return at > c.newest || now.Sub(c.seen) > pause
	}
	return at > c.newest && c.window&(1<<-ahead) != 0
}

// fresh reports whether seq was not counted before: a replay is answered like
// any packet, but is no statistics.
func (c *counted) fresh(seq uint32) bool {
	ahead := int32(seq - c.highest)
	if ahead > 0 {
		c.window = c.window<<min(ahead, 64) | 1
		c.highest = seq
		return true
	}
	if ahead <= -64 {
		return false // too old to know
	}
	bit := uint64(1) << -ahead
	fresh := c.window&bit == 0
	c.window |= bit
	return fresh
}

// sweep forgets those that were silent for long.
func (s *sources) sweep(now time.Time) {
	if now.Before(s.sweepAt) {
		return
	}
	s.sweepAt = now.Add(forgetIn / 4)
	for key, c := range s.sessions {
		if now.Sub(c.seen) > forgetIn {
			delete(s.sessions, key)
			if of := s.limits[sourceOf(key.from.Addr())]; of != nil {
				of.sessions--
			}
		}
	}
	for addr, known := range s.limits {
		if now.Sub(known.seen) > forgetIn {
			delete(s.limits, addr)
		}
	}
}
