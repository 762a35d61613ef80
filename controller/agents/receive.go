package agents

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// receive stores a report that arrived from an agent at now. An agent speaks
// for its own sessions and for the pods of its own node. It is taken apart before the
// lock is taken; under it of each session and pod all is taken in at once. Of one that is old
// its names alone count: later ones refer to them.
func (p *Pool) receive(s *speech, r *api.Report, now time.Time) error {
	now, old, err := s.clock.sent(r, now)
	if err != nil {
		return err
	}
	d, err := s.digest(r, now)
	if err != nil {
		return err
	}
	defer d.release()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports++
	p.learn(s.from, r)
	if old { // it was left lying, and says nothing of now
		return nil
	}
	samples, rates := keep, keep
	if r.GetCalm() {
		samples, rates = calmSamples, calmRates
	}
	if err := p.measured(s.from, d, now, samples); err != nil {
		return err
	}
	p.used(s.from, d, r, now, rates)
	if r.GetUrgent() {
		select {
		case p.urgent <- struct{}{}:
		default:
		}
	}
	return nil
}

// learn takes in what a report says of its agent. What it holds and takes, it does until its
// stream ends: others are told of it, and are not to be told back and forth. The pool's lock
// is held.
func (p *Pool) learn(from inventory.Agent, r *api.Report) {
	if r.GetStampKeyHeld() {
		p.holds(from, true)
	}
	if r.GetTakesLimits() {
		p.takes(from)
	}
	l := p.byUID[from.UID]
	if l == nil {
		return
	}
	if r.GetUrgent() {
		p.stirred.Store(true)
	}
	if !r.GetUplinksSame() {
		l.uplinks = uplinks(r.GetUplinks(), l.uplinks)
	}
	if from.Role == api.Role_ROLE_NODE {
		known := p.limiters[from.Node]
		if known == nil {
			known = new(plan.Limiter)
			p.limiters[from.Node], p.found = known, found{}
		}
		*known = limiterOf(r.GetTakesLimits(), l.uplinks)
	}
}

// measured takes in what a report says of sessions: of each once. The pool's lock is
// held.
func (p *Pool) measured(from inventory.Agent, d *digest, now time.Time, long time.Duration) error {
	for i := range d.sessions {
		m := &d.sessions[i]
		s := p.numbers[m.number]
		if m.number == 0 {
			s = p.sessions[m.id]
		}
		if s == nil || s.agent != from.UID { // it may have been taken away since
			continue
		}
		if s.report == p.reports {
			return fmt.Errorf("session %d is twice in a report", s.number)
		}
		s.report = p.reports
		if s.watch.notable(m.batch, p.pace.Soft, now) || s.err != m.why {
			p.stirred.Store(true)
		}
		s.add(m.batch, now, long)
		if s.err = m.why; !s.heard {
			s.heard, p.heard = true, append(p.heard, s)
		}
	}
	return nil
}

// used takes in what a report says of pods. The pool's lock is held.
func (p *Pool) used(from inventory.Agent, d *digest, r *api.Report, now time.Time, long time.Duration) {
	for i := range d.pods {
		u := &d.pods[i]
		kept := p.rates[u.PodID]
		if kept == nil || kept.node != from.Node || u.uid != "" && u.uid != kept.uid {
			continue
		}
		kept.tx.add(u.batch, now, long)
		if r.GetTakesLimits() { // else it enforces nothing that it is told
			if kept.held.Rate != u.held.Rate || kept.held.Newest != u.held.Newest {
				p.stirred.Store(true)
			}
			kept.held, kept.calm = u.held, r.GetCalm()
		}
	}
}
