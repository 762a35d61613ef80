package share

import (
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Division is what each of the senders behind a bottleneck is to have; nil where it does
// not matter.
type Division struct {
	To     []bitrate.Rate
	Floors []bitrate.Rate // as far as there is enough for all; nil: the own
}

// Divide shares a budget. What is tried for in a small try is given to one sender alone, and
// while no capacity is known nobody is lowered in favour of another: a raise adds to the
// limits in force.
func Divide(b *budget.Budget, g *senders.Group, l *senders.Look, raise bool) Division {
	claims := make([]Claim, len(g.Members))
	for k, i := range g.Members {
		use := &l.Uses[i]
		peak := use.Recent()
		if b.Search.Overbooked.By > 0 && !use.Idle(l.At) { // who sends now and then is to find a limit that stays
			peak = use.Bursts()
		}
		claims[k] = ClaimOf(g.Senders[k], peak)
		if use.Offer.Steady {
			claims[k].Steady(use.Offer.Rate(), l.Most(g.Senders[k]))
		}
		if !b.Link.Known && raise {
			claims[k].Floor = max(claims[k].Floor, senders.LimitOf(g.Senders[k]))
		}
		if g.Unused[k] > 0 {
			claims[k].lend(g.Unused[k])
		}
	}
	Shrink(b.Limits(), claims)
	d := Division{Of(b.Limits(), claims), make([]bitrate.Rate, len(claims))}
	// What loses, or fell before full sockets, is tried for in changes that cost as much however small they are. What is behind an uplink
	// as well is divided there.
	costs := g.Load.Costly() || g.Load.Paced && (b.Link.Loses || b.Link.InFewSteps(l.At))
	if costs && !b.Bottleneck.Whole {
		d.few(g, l, claims)
	}
	for k, unused := range g.Unused {
		d.To[k] += unused
		d.Floors[k] = claims[k].Floor + unused
	}
	if b.Search.Small.Good > 0 {
		d.one(g, l, b.Total)
	}
	return d
}

// one gives all that is tried for to one sender that its limit holds back: of one limit that is
// changed less goes wrong at once than of all.
func (d *Division) one(g *senders.Group, l *senders.Look, total bitrate.Rate) {
	most := -1
	for k, i := range g.Members {
		d.To[k] = senders.LimitOf(g.Senders[k])
		if held := senders.Bound(g.Senders[k], l.Uses[i].Recent()); held && (most < 0 || d.To[k] > d.To[most]) {
			most = k
		}
	}
	if most >= 0 {
		d.To[most] += max(total-g.Load.Limits, 0)
	}
}

// Returning is the limits that bottlenecks return to at one step, by sender; nil if none does.
type Returning []bitrate.Rate

// Return gives limits back as they were, to the senders that were there, of so many.
func (r *Returning) Return(g *senders.Group, was []senders.Limit, of int) Division {
	d := Division{To: make([]bitrate.Rate, len(g.Members))}
	if *r == nil {
		*r = make([]bitrate.Rate, of)
	}
	for k, i := range g.Members {
		d.To[k] = senders.LimitOf(g.Senders[k])
		if w, found := plan.Find(was, g.Senders[k].Pod); found {
			d.To[k] = max(d.To[k], was[w].Limit)
		}
		(*r)[i] = max((*r)[i], d.To[k])
	}
	return d
}

// Before is the limits to return to if cuts do not help: those that are meant to be in force,
// or those that another bottleneck is returning to at this very step.
func (r Returning) Before(g *senders.Group, l *senders.Look) []senders.Limit {
	was := make([]senders.Limit, len(g.Members))
	for k, i := range g.Members {
		s := g.Senders[k]
		was[k] = senders.Limit{Pod: s.Pod, Limit: l.Meant(s), At: l.At}
		if r != nil {
			was[k].Limit = max(was[k].Limit, r[i])
		}
	}
	return was
}
