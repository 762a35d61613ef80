package adaptive

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// flush finds what is known of a sender whose limit is low for a while.
func (r *round) flush(pod plan.PodID) *senders.Flush {
	i, found := slices.BinarySearchFunc(r.state.Flushes, pod, func(f senders.Flush, id plan.PodID) int { return f.Pod.Compare(id) })
	if !found {
		return nil
	}
	return &r.state.Flushes[i]
}

// meant is the limit of a sender, or what it was where it is low for a while.
func (r *round) meant(s *plan.Sender) bitrate.Rate {
	if f := r.flush(s.Pod); f != nil {
		return max(f.Was, s.Limit)
	}
	return senders.LimitOf(s)
}

// by is what is written of a change that is wished for: little while packets wait in
// the limiter.
func (r *round) by(i int, to bitrate.Rate, restore bool) bitrate.Rate {
	s := &r.view.Senders[i]
	if f := r.flush(s.Pod); f != nil {
		if f.To, f.Restore = to, restore; f.Over {
			return to
		}
		return s.Limit
	}
	low := senders.Low(s.Limit)
	if low >= to || !senders.Waits(s, r.state.Uses[i].Recent()) {
		return to
	}
	r.flushed = append(r.flushed, senders.Flush{Pod: s.Pod, At: r.view.At, Was: s.Limit, To: to, Restore: restore})
	return low
}

// due is what a sender is to have whose limit was low for a while: what was wished for,
// where that is forbidden what it was, and while that is to be waited for, what it has.
func (r *round) due(i int, w *wish) bitrate.Rate {
	s := &r.view.Senders[i]
	f := r.flush(s.Pod)
	if f == nil || !f.Over {
		return s.Limit
	}
	to, free := f.To, !w.frozen && !w.full
	if f.Restore {
		free = !w.cutting
	}
	if !free {
		if (w.waiting || w.full) && !f.Late(r.view.At) {
			return s.Limit
		}
		to = f.Back()
	}
	return max(min(to, max(w.cap.Quantise(), w.floor)), s.Limit)
}

// note adds to a wish what keeps one whose limit was low from what it is to have: what
// will end soon, or that there is no room yet. It returns how much of the room it takes.
func (r *round) note(w *wish, s *shared, k int, reason *plan.Reason, room bitrate.Rate) (takes bitrate.Rate) {
	switch reason.Cause {
	case plan.AwaitEffect, plan.Confirming, plan.Violation:
		w.waiting = w.waiting || reason.Trouble()
	}
	f := r.flush(s.senders[k].Pod)
	if f == nil || !f.Over || s.old == 0 {
		return 0
	}
	takes = f.To - s.senders[k].Limit
	w.full = w.full || takes > room
	return takes
}

// wait counts a sender in whose limiter packets may wait.
func (g *group) wait(s *plan.Sender, f *senders.Flush) {
	g.load.Paced = g.load.Paced || s.Limiter == plan.EDT
	if f != nil && !f.Over {
		g.held, g.old = true, g.old+max(f.Was-s.Limit, 0)
	}
}

// written brings the flushes up to date with what is planned.
func (r *round) written() {
	if len(r.state.Flushes)+len(r.flushed) == 0 {
		return
	}
	for i := range r.state.Flushes {
		f := &r.state.Flushes[i]
		_, planned := slices.BinarySearchFunc(r.plan.Limits, f.Pod, func(l plan.Limit, id plan.PodID) int { return l.Pod.Compare(id) })
		f.Asked = f.Asked || planned
	}
	r.state.Flushes = append(r.state.Flushes, r.flushed...)
	slices.SortFunc(r.state.Flushes, func(a, b senders.Flush) int { return a.Pod.Compare(b.Pod) })
}

// reasonOf is the place of the reason for a change of a sender's limit: that of a
// bottleneck that wished for it, or where none did, of its node's.
func (r *round) reasonOf(s *plan.Sender, w *wish) int {
	if w.cut || w.raise || w.restore {
		return int(w.reason)
	}
	uplink := plan.Uplink(s.Node)
	i := slices.IndexFunc(r.plan.Reasons, func(x plan.Reason) bool { return x.Bottleneck == uplink })
	if i < 0 {
		i = len(r.plan.Reasons)
		r.plan.Reasons = append(r.plan.Reasons, plan.Reason{Bottleneck: uplink, Action: plan.Grow, Cause: plan.Calm})
	}
	return i
}
