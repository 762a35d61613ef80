package limits

import (
	"cmp"
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// next is what a sender's limit is to be now: what is wished for, or little while packets
// wait in the limiter.
func (r *round) next(i int, w *wish) bitrate.Rate {
	s := &r.look.All[i]
	f := r.look.Flush(s.Pod)
	switch {
	case f != nil && w.to != 0:
		if f.To, f.Restore = w.to, w.restore; f.Over && !(w.apart && !f.Late(r.look.At)) {
			return r.beside(s, f, w, w.to)
		}
		return s.Limit
	case f != nil && f.Over:
		return r.due(s, f, w)
	case f != nil, w.to == 0, w.apart:
		return s.Limit
	case w.restore, !r.waits(i, w.to): // what is given back was let through before: it needs no room
		return r.beside(s, f, w, w.to)
	case w.crowded:
		return min(w.to, s.Limit) // a raise is due as long as it is held back, and its turn comes
	}
	low := senders.Low(s, w.to)
	r.flushed = append(r.flushed, senders.Flush{Pod: s.Pod, At: r.look.At, Was: s.Limit, Low: low, To: w.to, Restore: w.restore})
	return low
}

// beside is what a limit is to be for now, where there is room for less than it is to be: one that was low for as long as may be
// is no less than it was.
func (r *round) beside(s *plan.Sender, f *senders.Flush, w *wish, to bitrate.Rate) bitrate.Rate {
	if !w.tight {
		return to
	}
	least := s.Limit
	if f != nil && f.Late(r.look.At) {
		least = max(least, f.Back())
	}
	return min(to, max(w.most.Quantise(), least))
}

// waits reports whether a limit is to be changed by way of a low one.
func (r *round) waits(i int, to bitrate.Rate) bool {
	s := &r.look.All[i]
	return senders.Low(s, to) < min(to, s.Limit) && r.look.Uses[i].Waits(s, to, r.bursts(s, to))
}

// bursts reports whether what a sender's sockets have waiting is taken to make a queue of a change
// behind one of its bottlenecks.
func (r *round) bursts(s *plan.Sender, to bitrate.Rate) bool {
	if r.burst == nil {
		r.burst, r.eases = map[string]bool{}, map[string]bool{}
		for i := range r.budgets {
			l, node := &r.budgets[i].Link, r.budgets[i].Bottleneck.Node
			if l.Full(r.look.At) {
				r.burst[node] = true
			}
			if l.Eases(r.look.At) {
				r.eases[node] = true
			}
		}
	}
	of := r.burst
	if to > s.Limit {
		of = r.eases
	}
	return of[s.Node] || of[plan.Cluster.Node]
}

// turns finds the senders for which there is no turn at being low: of those whose
// limits are to change, the ones that send least. Writes take their time, and a limit
// that is low has to be written once more soon.
func (r *round) turns(wishes []wish) {
	var next []int
	for i := range wishes {
		if to := wishes[i].to; to != 0 && r.look.Flush(r.look.All[i].Pod) == nil && r.waits(i, to) {
			next = append(next, i)
		}
	}
	free := max(max(int(r.config.Writes), 1)-len(r.look.Flushes), 0) // with less than a write a second one at a time
	if r.elsewhere != nil {
		free = r.elsewhere.Turns
	}
	if len(next) <= free {
		return
	}
	slices.SortStableFunc(next, func(a, b int) int { return cmp.Compare(r.look.All[b].Limit, r.look.All[a].Limit) })
	for _, i := range next[free:] {
		wishes[i].crowded = true
	}
}

// due is what a sender is to have whose limit was low for as long as it had to be: what was
// wished for, where that is forbidden or nobody looks any more no more than it was, and while
// that is to be waited for, what it has.
func (r *round) due(s *plan.Sender, f *senders.Flush, w *wish) bitrate.Rate {
	to, free := max(f.To, w.floor), !w.frozen && !w.full && !w.apart && r.watched(s)
	if f.Restore {
		free = !w.cutting
	}
	if !free {
		if (w.waiting || w.full || w.apart) && !f.Late(r.look.At) {
			return s.Limit
		}
		to = f.Back()
	}
	if to = max(min(to, max(w.cap.Quantise(), w.floor)), s.Limit); to == s.Limit {
		f.To = to // it has what it is to have
	}
	return r.beside(s, f, w, to)
}

// watched reports whether there is a budget for a bottleneck of a sender: one that the apps behind it
// went blind for may be gone, and with it what keeps the sender below its floor.
func (r *round) watched(s *plan.Sender) bool {
	return slices.ContainsFunc(r.budgets, func(b budget.Budget) bool { return b.Bottleneck.Whole || b.Bottleneck.Node == s.Node })
}

// note adds to a wish what keeps one whose limit was low from what it is to have: what
// will end soon, or that there is no room yet. It returns how much of the room it takes.
func (r *round) note(w *wish, p *Part, k int, reason *plan.Reason, room bitrate.Rate) (takes bitrate.Rate) {
	switch reason.Cause {
	case plan.AwaitEffect, plan.Confirming, plan.Violation:
		w.waiting = w.waiting || reason.Trouble()
	}
	f := r.look.Flush(p.Senders[k].Pod)
	if f == nil || !f.Over || p.Old == 0 {
		return 0
	}
	takes = f.To - p.Senders[k].Limit
	w.full = w.full || takes > room
	return takes
}

// written brings the flushes up to date with what is planned.
func (r *round) written() {
	for i := range r.look.Flushes {
		f := &r.look.Flushes[i]
		_, planned := plan.Find(r.plan.Limits, f.Pod)
		f.Asked = f.Asked || planned
	}
	r.look.Flushes = append(r.look.Flushes, r.flushed...)
	plan.Sort(r.look.Flushes)
}

// reasonOf is the place of the reason for a change of a sender's limit: that of a
// bottleneck that wished for it, or where none did, as for a few that were low, of its node's.
func (r *round) reasonOf(s *plan.Sender, w *wish) int {
	if w.cut || w.raise || w.restore {
		return int(w.reason)
	}
	uplink := plan.Uplink(s.Node)
	i := slices.IndexFunc(r.plan.Reasons, func(x plan.Reason) bool { return x.Bottleneck == uplink })
	if i >= 0 {
		return i
	}
	r.plan.Reasons = append(r.plan.Reasons, plan.Reason{Bottleneck: uplink, Action: plan.Grow, Cause: plan.Calm})
	return len(r.plan.Reasons) - 1
}
