package law

import (
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// shared is a bottleneck's budget divided among its senders.
type shared struct {
	reason    plan.Reason
	members   []int          // in Observation.Senders
	to        []bitrate.Rate // by member
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

// plan turns the shares into limits: a sender gets the least of what its
// bottlenecks give it. Cuts are planned at once, raises only where the sum of
// the limits in force leaves room for them.
func (r *round) plan() plan.Plan {
	p := plan.Plan{At: r.o.At}
	wishes := make([]wish, len(r.o.Senders))
	for i := range wishes {
		wishes[i].cap = bitrate.Max
	}
	for b := range r.shares {
		p.Reasons = append(p.Reasons, r.shares[b].reason)
		r.wish(b, wishes)
	}
	for i := range r.o.Senders {
		w := wishes[i]
		s := r.o.Senders[i]
		floor, ceiling := bounds(s, bitrate.Min, bitrate.Max)
		to := min(max(w.cap.Quantise(), floor), ceiling)
		limit := limitOf(s)
		switch {
		case w.cut && to < limit:
		case w.restore && !w.cutting && to > limit:
		case w.raise && !w.frozen && to >= limit+max(bitrate.Mbit, scale(limit, worthRaising)):
		default:
			continue
		}
		p.Limits = append(p.Limits, plan.Limit{Pod: s.Pod, From: s.Limit, To: to, Reason: w.reason})
	}
	return p
}

// wish adds what one bottleneck has to say about each of its senders.
func (r *round) wish(b int, wishes []wish) {
	s := &r.shares[b]
	limits, raises, starved := r.want(s)
	acting := s.reason.Action != plan.Hold
	held := s.reason.Action == plan.Hold && s.reason.Cause == plan.Blind // nothing is cut, for newcomers neither
	over := s.learned && !held && float64(limits) > overcommit*float64(s.total)
	shift := s.rebalance && starved && raises > s.total-limits
	room := !s.learned || s.reason.Action == plan.Restore || raises <= s.total-limits+scale(s.total, 0.005)
	shifted := false
	for k, i := range s.members {
		w := &wishes[i]
		limit := limitOf(r.o.Senders[i])
		if s.learned || acting {
			w.cap = min(w.cap, s.to[k])
		}
		w.frozen = w.frozen || inTrouble(s.reason)
		w.cutting = w.cutting || s.reason.Action == plan.Cut
		less := limit - s.to[k]
		switch {
		case s.reason.Action == plan.Cut && less > 0, over && less > 0:
			w.cut, w.reason = true, b
		case shift && !inTrouble(s.reason) && less >= max(bitrate.Mbit, scale(limit, worthCutting)):
			w.cut, w.reason, shifted = true, b, true
		case less < 0 && room && (acting || starved):
			if !w.restore {
				w.raise, w.reason = true, b
			}
			w.restore = w.restore || s.reason.Action == plan.Restore
		}
	}
	if shifted {
		r.state.Budgets[b].SharedAt = r.o.At
	}
}

// want sums up the limits in force and the raises wished for, and says whether
// somebody held back by a limit is due notably more.
func (r *round) want(s *shared) (limits, raises bitrate.Rate, starved bool) {
	for k, i := range s.members {
		sender := r.o.Senders[i]
		limit := limitOf(sender)
		limits += limit
		if s.to[k] > limit {
			raises += s.to[k] - limit
			use := r.state.Uses[i]
			starved = starved || s.learned && bound(sender, max(use.Now, use.Last)) && float64(s.to[k]) > 1.05*float64(limit)
		}
	}
	return limits, raises, starved
}

// inTrouble reports whether a bottleneck's reason forbids raises behind it.
func inTrouble(r plan.Reason) bool {
	if r.Action == plan.Restore || r.Action == plan.Grow {
		return false
	}
	switch r.Cause {
	case plan.Violation, plan.Confirming, plan.AwaitEffect, plan.Blind, plan.AtFloor, plan.Unresponsive, plan.NotNetwork:
		return true
	}
	return false
}
