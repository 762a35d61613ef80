// Package limits turns what each bottleneck gives its senders into limits, and what those
// in force become now: a sender gets the least of what its bottlenecks give it.
package limits

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/law/share"
	"github.com/detnet/detnet/controller/plan"
)

// What is not worth a write, beside senders.Worth: smaller changes are left alone.
const (
	worthCutting = 0.05            // of a limit, where nothing is wrong
	worthLosing  = 0.25            // of a limit that is of next to no use then as now, which a change makes low first
	comesBack    = 2 * time.Second // after a change before Cilium: until then what is not used of a limit is not given to others
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
	apart      bool         // it is raised once what others have waiting behind low limits is gone
	tight      bool         // there is room for no more than most beside what goes on behind its own
	most       bitrate.Rate
}

// may reports whether a limit is to be changed as is wished for.
func (w *wish) may(limit, to bitrate.Rate, worth float64) bool {
	return w.cut && to < limit ||
		w.restore && !w.cutting && to > limit ||
		w.raise && !w.frozen && (to >= limit+max(bitrate.Mbit, bitrate.Scale(limit, worth)) || w.tried && to > limit)
}

// Config tunes the limits.
type Config struct {
	// RebalanceEvery is the least time between two shifts of bandwidth from
	// senders that do not use theirs to senders that do.
	RebalanceEvery time.Duration `yaml:"rebalanceEvery"`
	// Writes is how many limits can be written in a second, of the whole cluster. No
	// more than that are low at a time before they are what they are to be (senders.Flush).
	Writes float64 `yaml:"-"`
}

// Part is what one bottleneck has to say: the senders behind it, and what each of them is
// to have.
type Part struct {
	At int // the place of its budget and its reason
	senders.Group
	share.Division
}

// round is one step in the making.
type round struct {
	config    Config
	look      *senders.Look
	elsewhere *plan.Elsewhere
	budgets   []budget.Budget // each has its reason in the plan
	parts     []Part
	plan      *plan.Plan

	// Nodes where a change makes a burst, and where a raise may; nil until somebody asks.
	burst, eases map[string]bool
	flushed      []senders.Flush // that begin at this step
}

// Plan adds to a plan what limits become, and notes in the look what is expected of that. The
// parts are those of bottlenecks that change or forbid anything; where what is looked at is a
// part of a cluster, elsewhere is what counts of the rest, else it is nil. Cuts are planned at
// once, raises only where the sum of the limits in force leaves room for them.
func Plan(c Config, l *senders.Look, elsewhere *plan.Elsewhere, budgets []budget.Budget, parts []Part, p *plan.Plan) {
	r := round{config: c, look: l, elsewhere: elsewhere, budgets: budgets, parts: parts, plan: p}
	if len(l.Flushes) > 0 || slices.ContainsFunc(parts, func(x Part) bool { return x.To != nil }) {
		r.limits()
	}
	l.Feedback.Expect(*p, l.All)
}

func (r *round) limits() {
	wishes := make([]wish, len(r.look.All))
	for i := range wishes {
		wishes[i].cap = bitrate.Max
		wishes[i].floor, _ = senders.Bounds(&r.look.All[i])
	}
	for i := range r.parts {
		r.wish(&r.parts[i], wishes)
	}
	changed := len(r.look.Flushes)
	for i := range wishes {
		w, s := &wishes[i], &r.look.All[i]
		_, ceiling := senders.Bounds(s)
		if !w.tried { // that is not written
			w.cap = w.cap.Quantise()
		}
		to, worth, offer := min(max(w.cap, w.floor), ceiling), senders.Worth, &r.look.Uses[i].Offer
		if offer.Lost() && to < senders.Enough(offer.Rate()).Quantise() && r.waits(i, to) {
			worth = worthLosing
		}
		if w.may(senders.LimitOf(s), to, worth) {
			w.to = to
			changed++
		}
	}
	r.turns(wishes)
	for i := range r.parts {
		r.spread(&r.parts[i], wishes)
	}
	r.plan.Limits = slices.Grow(r.plan.Limits, changed)
	for i := range wishes {
		w, s := &wishes[i], &r.look.All[i]
		if to := r.next(i, w); to != s.Limit {
			l := plan.Limit{Pod: s.Pod, From: s.Limit, To: to, Below: to < s.Min, Reason: r.reasonOf(s, w)}
			l.Tried = w.tried && to > s.Limit
			l.FromLow = to > s.Limit && r.look.Flush(s.Pod) != nil
			l.ToLow = len(r.flushed) > 0 && r.flushed[len(r.flushed)-1].Pod == s.Pod
			r.plan.Limits = append(r.plan.Limits, l)
		}
	}
	r.written()
}

// wish adds what one bottleneck has to say about each of its senders.
func (r *round) wish(p *Part, wishes []wish) {
	b, reason := &r.budgets[p.At], &r.plan.Reasons[p.At]
	trouble, cutting, restore := reason.Trouble(), reason.Action == plan.Cut, reason.Action == plan.Restore
	may := r.changes(p, b, reason)
	room := bitrate.Scale(b.Limits(), overcommit) - p.Load.Limits - p.Old
	for k, i := range p.Members {
		w := &wishes[i]
		w.frozen = w.frozen || trouble
		w.cutting = w.cutting || cutting
		room -= r.note(w, p, k, reason, room)
		if p.To == nil {
			continue
		}
		w.cap = min(w.cap, p.To[k])
		if p.Floors != nil {
			w.floor = min(w.floor, p.Floors[k])
		}
		limit := senders.LimitOf(p.Senders[k])
		less := limit - p.To[k]
		switch {
		case may.cut && less > 0:
			w.cut, w.reason = true, int32(p.At)
		case may.shift && (r.lends(i) || senders.Bound(p.Senders[k], r.look.Uses[i].Recent())) && less >= max(bitrate.Mbit, bitrate.Scale(limit, worthCutting)):
			w.cut, w.reason = true, int32(p.At)
			b.Search.Shared = r.look.At
		case less < 0 && (may.raise || may.shift && r.look.Uses[i].Offer.Lost() && r.waits(int(i), p.To[k])): // of a low limit it gets as little, until there is room
			if !w.restore {
				w.raise, w.reason, w.tried = true, int32(p.At), b.Search.Small.Good > 0
			}
			w.restore = w.restore || restore
		}
	}
}

// lends reports whether what one does not use may be given to others: before Cilium who had another limit just now comes back slowly.
func (r *round) lends(i int32) bool {
	return r.look.At.Sub(r.look.Uses[i].Offer.Ahead.Gone) >= comesBack
}

// changes are those that a bottleneck's shares may lead to.
type changes struct{ cut, shift, raise bool }

func (r *round) changes(p *Part, b *budget.Budget, reason *plan.Reason) changes {
	total, learned := b.Limits(), b.Learned() // else the total is just the sum of the limits
	raises, starved := r.want(p)
	starved = starved && learned
	room := total - p.Load.Limits - p.Old
	acting := reason.Action != plan.Hold
	held := !acting && reason.Cause == plan.Blind // nothing is cut, for newcomers neither
	over := learned && !held && float64(p.Load.Limits) > overcommit*float64(total)
	fits := !learned || reason.Action == plan.Restore || raises <= room+bitrate.Scale(total, slack)
	due := r.look.At.Sub(b.Search.Shared) >= r.config.RebalanceEvery
	return changes{
		cut:   reason.Action == plan.Cut || over,
		shift: due && starved && raises > room && !reason.Trouble(),
		raise: fits && (acting || starved),
	}
}

// want sums up the raises wished for, and says whether somebody held back by a
// limit is due notably more.
func (r *round) want(p *Part) (raises bitrate.Rate, starved bool) {
	for k, to := range p.To {
		limit := senders.LimitOf(p.Senders[k])
		if to <= limit {
			continue
		}
		raises += to - limit
		held := senders.Bound(p.Senders[k], r.look.Uses[p.Members[k]].Recent())
		starved = starved || held && float64(to) > 1.05*float64(limit)
	}
	return raises, starved
}
