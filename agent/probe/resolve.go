package probe

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

const lookupTimeout = 5 * time.Second

// resolve finds the session's address: at once where Host is one, otherwise in
// the background, so that one slow name does not hold up the others.
func (s *Sender) resolve(each *session) {
	if addr, err := netip.ParseAddr(each.Host); err == nil {
		each.addr = netip.AddrPortFrom(addr.Unmap(), each.Port)
		each.due = s.now()
		return
	}
	if each.resolving {
		return
	}
	each.resolving = true
	s.waiting.Go(func() {
		addr, err := s.lookup(s.ctx, each.Host, each.Family)
		s.mu.Lock()
		defer s.mu.Unlock()
		each.resolving = false
		if err != nil {
			now := s.now()
			each.fail(fmt.Errorf("resolve %q: %w", each.Host, err), now, now, lastLookup)
			return
		}
		each.addr = netip.AddrPortFrom(addr, each.Port)
		each.due = s.now()
	})
}

func (s *Sender) lookup(ctx context.Context, host string, family Family) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := s.opts.Resolver.LookupHost(ctx, host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, text := range found {
		if addr, err := netip.ParseAddr(text); err == nil && family.has(addr.Unmap()) {
			return addr.Unmap(), nil
		}
	}
	if family != AnyFamily {
		return netip.Addr{}, fmt.Errorf("no IPv%d address among %q", family, found)
	}
	return netip.Addr{}, fmt.Errorf("no usable address among %q", found)
}

// unresolve makes a session with a name look it up again before its next
// packet: what refused may have moved.
func (s *session) unresolve() {
	if _, err := netip.ParseAddr(s.Host); err != nil {
		if s.prober != nil {
			s.prober.forget(s)
		}
		s.addr, s.prober = netip.AddrPort{}, nil
	}
}
