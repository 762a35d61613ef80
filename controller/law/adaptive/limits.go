package adaptive

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// What is not worth a write: smaller changes are left alone.
const (
	worthRaising = 0.01
	worthCutting = 0.05 // where nothing is wrong
	overcommit   = 1.03 // sum of limits over the total that is let pass
)

// wish is what all bottlenecks of one sender come to.
type wish struct {
	cap        bitrate.Rate // the least of the shares
	floor      bitrate.Rate // the least of the floors
	cut, raise bool
	restore    bool
	tried      bool // the raise is a small try
	cutting    bool // a bottleneck of the sender is being cut, if not this sender
	frozen     bool // no raise while a bottleneck of the sender is in trouble
	waiting    bool // for what will end soon
	full       bool // no room for what it is to have once its limit is not low any more
	reason     int32
	to         bitrate.Rate // what all that comes to; 0: no change
	crowded    bool         // it can't be low first now, as too many are
}

// may reports whether a limit is to be changed as is wished for.
func (w *wish) may(limit, to bitrate.Rate) bool {
	return w.cut && to < limit ||
		w.restore && !w.cutting && to > limit ||
		w.raise && !w.frozen && (to >= limit+max(bitrate.Mbit, bitrate.Scale(limit, worthRaising)) || w.tried && to > limit)
}

// limits turns the shares into limits: a sender gets the least of what its
// bottlenecks give it. Cuts are planned at once, raises only where the sum of
// the limits in force leaves room for them.
func (r *round) limits() {
	if len(r.state.Flushes) == 0 && !slices.ContainsFunc(r.groups, func(g group) bool { return g.to != nil }) {
		return
	}
	wishes := make([]wish, len(r.view.Senders))
	for i := range wishes {
		wishes[i].cap = bitrate.Max
		wishes[i].floor, _ = senders.Bounds(&r.view.Senders[i])
	}
	for i := range r.groups {
		r.wish(&r.groups[i], wishes)
	}
	for i := range wishes {
		w, s := &wishes[i], &r.view.Senders[i]
		_, ceiling := senders.Bounds(s)
		if !w.tried { // that is not written
			w.cap = w.cap.Quantise()
		}
		if to := min(max(w.cap, w.floor), ceiling); w.may(senders.LimitOf(s), to) {
			w.to = to
		}
	}
	r.turns(wishes)
	for i := range wishes {
		w, s := &wishes[i], &r.view.Senders[i]
		if to := r.next(i, w); to != s.Limit {
			l := plan.Limit{Pod: s.Pod, From: s.Limit, To: to, Below: to < s.Min, Reason: r.reasonOf(s, w)}
			l.Tried = w.tried && to > s.Limit
			l.FromLow = to > s.Limit && r.flush(s.Pod) != nil
			l.ToLow = len(r.flushed) > 0 && r.flushed[len(r.flushed)-1].Pod == s.Pod
			r.plan.Limits = append(r.plan.Limits, l)
		}
	}
	r.written()
}

// wish adds what one bottleneck has to say about each of its senders.
func (r *round) wish(g *group, wishes []wish) {
	b, reason := &r.state.Budgets[g.at], &r.plan.Reasons[g.at]
	trouble, cutting, restore := reason.Trouble(), reason.Action == plan.Cut, reason.Action == plan.Restore
	may := r.may(g, b, reason)
	room := bitrate.Scale(b.Limits(), overcommit) - g.load.Limits - g.old
	for k, i := range g.members {
		w := &wishes[i]
		w.frozen = w.frozen || trouble
		w.cutting = w.cutting || cutting
		room -= r.note(w, g, k, reason, room)
		if g.to == nil {
			continue
		}
		w.cap = min(w.cap, g.to[k])
		if g.floors != nil {
			w.floor = min(w.floor, g.floors[k])
		}
		limit := senders.LimitOf(g.senders[k])
		less := limit - g.to[k]
		switch {
		case may.cut && less > 0:
			w.cut, w.reason = true, int32(g.at)
		case may.shift && less >= max(bitrate.Mbit, bitrate.Scale(limit, worthCutting)):
			w.cut, w.reason = true, int32(g.at)
			b.Search.Shared = r.view.At
		case may.raise && less < 0:
			if !w.restore {
				w.raise, w.reason, w.tried = true, int32(g.at), b.Search.Small.Good > 0
			}
			w.restore = w.restore || restore
		}
	}
}

// changes are those that a bottleneck's shares may lead to.
type changes struct{ cut, shift, raise bool }

func (r *round) may(g *group, b *budget.Budget, reason *plan.Reason) changes {
	total, learned := b.Limits(), b.Learned() // else the total is just the sum of the limits
	raises, starved := r.want(g)
	starved = starved && learned
	room := total - g.load.Limits - g.old
	acting := reason.Action != plan.Hold
	held := !acting && reason.Cause == plan.Blind // nothing is cut, for newcomers neither
	over := learned && !held && float64(g.load.Limits) > overcommit*float64(total)
	fits := !learned || reason.Action == plan.Restore || raises <= room+bitrate.Scale(total, 0.005)
	due := r.view.At.Sub(b.Search.Shared) >= r.config.RebalanceEvery
	return changes{
		cut:   reason.Action == plan.Cut || over,
		shift: due && starved && raises > room && !reason.Trouble(),
		raise: fits && (acting || starved),
	}
}

// want sums up the raises wished for, and says whether somebody held back by a
// limit is due notably more.
func (r *round) want(g *group) (raises bitrate.Rate, starved bool) {
	for k, to := range g.to {
		limit := senders.LimitOf(g.senders[k])
		if to <= limit {
			continue
		}
		raises += to - limit
		held := senders.Bound(g.senders[k], r.state.Uses[g.members[k]].Recent())
		starved = starved || held && float64(to) > 1.05*float64(limit)
	}
	return raises, starved
}
