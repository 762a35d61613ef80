package adaptive

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// shared is a bottleneck's budget divided among its senders.
type shared struct {
	group
	reason    plan.Reason
	to        []bitrate.Rate // by member; nil where it does not matter
	total     bitrate.Rate
	learned   bool // the total is a budget, not just the sum of the limits
	rebalance bool // a shift between senders is due
}

// What is not worth a write: smaller changes are left alone.
const (
	worthRaising = 0.01
	worthCutting = 0.05 // where nothing is wrong
	overcommit   = 1.03 // sum of limits over the total that is let pass
)

// wish is what all bottlenecks of one sender come to.
type wish struct {
	cap        bitrate.Rate // the least of the shares
	cut, raise bool
	restore    bool
	cutting    bool // a bottleneck of the sender is being cut, if not this sender
	frozen     bool // no raise while a bottleneck of the sender is in trouble
	reason     int
}

// limits turns the shares into limits: a sender gets the least of what its
// bottlenecks give it. Cuts are planned at once, raises only where the sum of
// the limits in force leaves room for them.
func (r *round) limits() {
	if !slices.ContainsFunc(r.shares, func(s shared) bool { return s.to != nil }) {
		return
	}
	wishes := make([]wish, len(r.view.Senders))
	for i := range wishes {
		wishes[i].cap = bitrate.Max
	}
	for b := range r.shares {
		r.wish(b, wishes)
	}
	for i := range r.view.Senders {
		w, s := &wishes[i], &r.view.Senders[i]
		if !w.cut && !w.restore && !w.raise {
			continue
		}
		floor, ceiling := senders.Bounds(s)
		to := min(max(w.cap.Quantise(), floor), ceiling)
		limit := senders.LimitOf(s)
		switch {
		case w.cut && to < limit:
		case w.restore && !w.cutting && to > limit:
		case w.raise && !w.frozen && to >= limit+max(bitrate.Mbit, scale(limit, worthRaising)):
		default:
			continue
		}
		r.plan.Limits = append(r.plan.Limits, plan.Limit{Pod: s.Pod, From: s.Limit, To: to, Reason: w.reason})
	}
}

// wish adds what one bottleneck has to say about each of its senders.
func (r *round) wish(b int, wishes []wish) {
	s := &r.shares[b]
	trouble, cutting := inTrouble(s.reason), s.reason.Action == plan.Cut
	if s.to == nil {
		if trouble {
			for _, i := range s.members {
				wishes[i].frozen = true
			}
		}
		return
	}
	raises, starved := r.want(s)
	limits := s.load.Limits
	acting := s.reason.Action != plan.Hold
	held := !acting && s.reason.Cause == plan.Blind // nothing is cut, for newcomers neither
	over := s.learned && !held && float64(limits) > overcommit*float64(s.total)
	shift := s.rebalance && starved && raises > s.total-limits && !trouble
	restore := s.reason.Action == plan.Restore
	room := !s.learned || restore || raises <= s.total-limits+scale(s.total, 0.005)
	for k, i := range s.members {
		w := &wishes[i]
		limit := senders.LimitOf(s.senders[k])
		w.cap = min(w.cap, s.to[k])
		w.frozen = w.frozen || trouble
		w.cutting = w.cutting || cutting
		less := limit - s.to[k]
		switch {
		case (cutting || over) && less > 0:
			w.cut, w.reason = true, b
		case shift && less >= max(bitrate.Mbit, scale(limit, worthCutting)):
			w.cut, w.reason = true, b
			r.state.Budgets[b].Acts.Shared = r.view.At
		case less < 0 && room && (acting || starved):
			if !w.restore {
				w.raise, w.reason = true, b
			}
			w.restore = w.restore || restore
		}
	}
}

// want sums up the raises wished for, and says whether somebody held back by a
// limit is due notably more.
func (r *round) want(s *shared) (raises bitrate.Rate, starved bool) {
	for k, i := range s.members {
		limit := senders.LimitOf(s.senders[k])
		if s.to[k] <= limit {
			continue
		}
		raises += s.to[k] - limit
		held := senders.Bound(s.senders[k], r.state.Uses[i].Recent())
		starved = starved || s.learned && held && float64(s.to[k]) > 1.05*float64(limit)
	}
	return raises, starved
}

// inTrouble reports whether a bottleneck's reason forbids raises behind it.
func inTrouble(r plan.Reason) bool {
	if r.Action == plan.Restore || r.Action == plan.Grow {
		return false
	}
	switch r.Cause {
	case plan.Violation, plan.Confirming, plan.AwaitEffect, plan.Blind, plan.AtFloor, plan.Unresponsive, plan.TooCostly, plan.NotNetwork:
		return true
	}
	return false
}

func scale(r bitrate.Rate, by float64) bitrate.Rate { return bitrate.Rate(float64(r) * by) }
