package agents

import (
	"time"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// Look is what is known of many sessions and pods at one time. It is filled by
// Pool.Look, and may be filled again.
type Look struct {
	Sessions []string // ids
	Senders  []*inventory.Sender

	Measured []Measurement // of each session
	Usage    []Usage       // of each sender
}

// Usage is what is known of one pod that may be limited; the zero Usage where
// nothing is.
type Usage struct {
	Rates   []plan.TxRate // the recent past, oldest first; shared: do not modify
	Held    Held          // what was last said to be in force; zero where no agent takes limits
	Fresh   bool          // and its agent still reports
	Limiter plan.Limiter  // how it is held to its limit, as the node's agent last let know
}

// late reports whether this process is behind with its work: it was asked to take less, or
// its loop, which looks once a second at least, does not come round.
func (p *Pool) late(now time.Time) bool {
	return p.strained.Load() || now.Sub(time.Unix(0, p.looked.Load())) > 2*time.Second
}

// found is what a pool keeps of each that was last asked for, in that order; nil of whom it knows
// nothing. The lists are those of the last Look.
type found struct {
	ids      []string
	senders  []*inventory.Sender
	sessions []*session
	earlier  []int // for each session the place before at which it is in the list too, -1 if there is none
	rates    []*rates
	limiters []*plan.Limiter // of each sender's node
}

// find looks up each in a list, unless that is the one it was last asked for: of thousands
// that takes as long as all else does.
func (p *Pool) find(l *Look) *found {
	f := &p.found
	if !sameList(f.ids, l.Sessions) {
		f.ids, f.sessions, f.earlier = l.Sessions, f.sessions[:0], f.earlier[:0]
		for i, id := range l.Sessions {
			s, earlier := p.sessions[id], -1
			if s != nil {
				if f.has(s) {
					earlier = s.place
				}
				s.place = i
			}
			f.sessions, f.earlier = append(f.sessions, s), append(f.earlier, earlier)
		}
	}
	if !sameList(f.senders, l.Senders) {
		f.senders, f.rates, f.limiters = l.Senders, f.rates[:0], f.limiters[:0]
		for _, sender := range l.Senders {
			f.rates, f.limiters = append(f.rates, p.rates[sender.Pod]), append(f.limiters, p.limiters[sender.Node])
		}
	}
	return f
}

// has reports whether a session is in the list, at its place.
func (f *found) has(s *session) bool { return s.place < len(f.sessions) && f.sessions[s.place] == s }

// Look fills in what is known at now: all at once, since a tick that waited for its
// turn among the reports with each session would wait thousands of times. Its lists must not be
// changed after it, but replaced.
func (p *Pool) Look(l *Look, now time.Time) {
	p.looked.Store(now.UnixNano())
	l.Measured, l.Usage = l.Measured[:0], l.Usage[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	f := p.find(l)
	for _, s := range f.sessions {
		var m Measurement
		if s != nil {
			m = s.measurement(now)
		}
		l.Measured = append(l.Measured, m)
	}
	for i, r := range f.rates {
		var u Usage
		if known := f.limiters[i]; known != nil {
			u.Limiter = *known
		}
		if r != nil {
			u.Rates, u.Held, u.Fresh = r.tx.view(now), r.held, now.Sub(r.held.At) < patience(r.calm)
		}
		l.Usage = append(l.Usage, u)
	}
}

// News is what is known of a session, by its place in the list of a Look.
type News struct {
	Session int
	Measurement
}

// News appends those of the sessions last looked at of which anything came since they were, or since the
// last call, one for each place: so that what is measured need not be taken in all at once.
func (p *Pool) News(news []News, now time.Time) []News {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.heard {
		if !p.found.has(s) {
			continue
		}
		m := s.measurement(now)
		for at := s.place; at >= 0; at = p.found.earlier[at] {
			news = append(news, News{at, m})
		}
	}
	p.forget()
	return news
}

// forget begins anew with what is heard. The pool's lock is held.
func (p *Pool) forget() {
	for _, s := range p.heard {
		s.heard = false
	}
	clear(p.heard)
	p.heard = p.heard[:0]
}
