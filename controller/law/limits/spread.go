package limits

import (
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

const (
	overcommit = 1.03  // sum of limits over the total that is let pass
	slack      = 0.005 // of the total, by which raises may come to more than there is room for
)

// spread has raises from low limits come one after the other, where what goes on at those beside what they are to be is more
// than is left free for it: of small limits 3 % cannot be written. The last has as much less.
func (r *round) spread(p *Part, wishes []wish) {
	b := &r.budgets[p.At]
	if !p.Load.Costly() || !b.Learned() || r.plan.Reasons[p.At].Action == plan.Restore {
		return
	}
	room, going := bitrate.Scale(b.Limits(), overcommit+slack)-p.Load.Limits, false
	for _, i := range p.Members {
		beside := r.look.Uses[i].Offer.Ahead.Beside(r.look.At)
		room, going = room-beside, going || beside > 0
	}
	for _, i := range p.Members {
		w := &wishes[i]
		to := r.goesOn(i, w)
		if to == 0 {
			continue
		}
		switch {
		case room < to && going:
			w.apart = true
			continue
		case room < to:
			if most := max(room, 0); !w.tight || most < w.most { // behind the cluster there may be more
				w.tight, w.most = true, most
			}
		}
		room, going = room-to, true
	}
}

// goesOn is what a sender is to have now beside which what waits behind its low limit goes on; 0: nothing does.
func (r *round) goesOn(i int32, w *wish) bitrate.Rate {
	s, use, to := &r.look.All[i], &r.look.Uses[i], w.to
	f := r.look.Flush(s.Pod)
	if f != nil && to == 0 {
		to = f.To
	}
	switch {
	case w.restore, w.frozen, w.full, use.Offer.Steady, to <= s.Limit, !senders.Bound(s, use.Recent()):
		return 0
	case f != nil && !f.Over, f == nil && r.waits(int(i), to): // not yet
		return 0
	}
	return to
}
