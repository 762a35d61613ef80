package agents

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// receive stores a report that arrived from an agent at now. An agent speaks
// for its own sessions and for the pods of its own node. What it costs is in
// proportion to the report's size, whatever the agent writes: of each session and
// pod all is taken in at once.
func (p *Pool) receive(from inventory.Agent, named *wire.Named, r *api.Report, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports++
	p.holds(from, r.GetStampKeyHeld())
	p.takes(from, r.GetTakesLimits())
	if l := p.byUID[from.UID]; l != nil {
		if !r.GetCalm() {
			p.stirred.Store(true)
		}
		if !r.GetUplinksSame() {
			l.uplinks = uplinks(r.GetUplinks(), l.uplinks)
		}
		if from.Role == api.Role_ROLE_NODE {
			p.limiters[from.Node] = limiterOf(r.GetTakesLimits(), l.uplinks)
		}
	}
	if err := p.measured(from, r, now); err != nil {
		return err
	}
	if err := p.used(from, named, r, now); err != nil {
		return err
	}
	if r.GetUrgent() {
		select {
		case p.urgent <- struct{}{}:
		default:
		}
	}
	return nil
}

// measured takes in what a report says of sessions: of each once.
func (p *Pool) measured(from inventory.Agent, r *api.Report, now time.Time) error {
	for _, sr := range r.GetSessions() {
		s := p.sessions[sr.GetId()]
		if s == nil || s.agent != from.UID { // it may have been taken away since
			continue
		}
		batch, err := samples(sr, now)
		if err == nil {
			err = p.add(s, batch, sr.GetError(), now)
		}
		if err != nil {
			return err
		}
	}
	for _, sr := range r.GetPacked() {
		s := p.numbers[sr.GetNumber()]
		if s == nil || s.agent != from.UID {
			continue
		}
		batch, err := unpacked(sr, now)
		if err == nil {
			err = p.add(s, batch, sr.GetError(), now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) add(s *session, batch []plan.Sample, why string, now time.Time) error {
	if s.report == p.reports {
		return fmt.Errorf("session %d is twice in a report", s.number)
	}
	s.report = p.reports
	s.samples.add(batch, now)
	s.err = strings.ToValidUTF8(why[:min(len(why), longestWhy)], "")
	return nil
}

// used takes in what a report says of pods, up to what is no report.
func (p *Pool) used(from inventory.Agent, named *wire.Named, r *api.Report, now time.Time) error {
	defer func() {
		for _, kept := range p.told {
			kept.tx.add(kept.batch, now)
			kept.batch = kept.batch[:0]
		}
		clear(p.told)
		p.told = p.told[:0]
	}()
	for _, pr := range r.GetPods() {
		if kept := p.usageOf(from, pr.GetNamespace(), pr.GetName(), pr.GetUid()); kept != nil {
			if err := p.tell(kept, rate(pr, now)); err != nil {
				return err
			}
			if r.GetTakesLimits() {
				kept.held = heldOf(pr, now)
			}
		}
	}
	var refused error
	if err := named.Rates(r, now, func(u wire.Rate) {
		kept := p.usageOf(from, u.Namespace, u.Name, u.UID)
		if kept == nil || refused != nil {
			return
		}
		refused = p.tell(kept, plan.TxRate{At: u.At, Tx: bitrate.Rate(min(u.Tx, uint64(bitrate.Max)))})
		if r.GetTakesLimits() {
			kept.held = Held{bitrate.Rate(min(u.Limit, uint64(bitrate.Max))), workload.Order{Term: u.Term, Sequence: u.Sequence}, now}
		}
	}); err != nil {
		return err
	}
	return refused
}

func (p *Pool) tell(kept *rates, rate plan.TxRate) error {
	switch len(kept.batch) {
	case 0:
		p.told = append(p.told, kept)
	case wire.MaxWindows:
		return fmt.Errorf("usage of pod %s in more than %d windows in a report", kept.uid, wire.MaxWindows)
	}
	kept.batch = append(kept.batch, rate)
	return nil
}

// usageOf is what is kept of a pod, if it is one of the agent's node.
func (p *Pool) usageOf(from inventory.Agent, namespace, name, uid string) *rates {
	kept := p.rates[plan.PodID{Namespace: namespace, Name: name}]
	if kept == nil || kept.node != from.Node || uid != "" && types.UID(uid) != kept.uid {
		return nil
	}
	return kept
}
