package probe

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// sources is what a reflector remembers of those that send to it. Both tables
// are bounded: who does not fit is served by a shared limit, and without a
// count.
type sources struct {
	perSecond rate.Limit
	limits    map[netip.Addr]*source
	others    *rate.Limiter // of all that do not fit
	sessions  map[sessionKey]*counted
	sweepAt   time.Time
}

const (
	maxSources = 4096
	forgetIn   = time.Minute
	burstOf    = 4 // a source may be this part of a second ahead of its rate
)

type source struct {
	limiter *rate.Limiter
	seen    time.Time
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
	window  uint64 // which of the 64 numbers up to highest came
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

// count takes packet seq of a session into its statistics, once, and returns
// them; zeros if the session does not fit.
func (s *sources) count(key sessionKey, seq uint32, now time.Time) (rx, tx uint32) {
	c := s.sessions[key]
	if c == nil {
		if len(s.sessions) >= maxSources {
			return 0, 0
		}
		c = &counted{highest: seq - 1}
		s.sessions[key] = c
	}
	c.seen = now
	if c.fresh(seq) {
		c.rx++
	}
	c.tx++
	return c.rx, c.tx
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
	for addr, known := range s.limits {
		if now.Sub(known.seen) > forgetIn {
			delete(s.limits, addr)
		}
	}
	for key, c := range s.sessions {
		if now.Sub(c.seen) > forgetIn {
			delete(s.sessions, key)
		}
	}
}
