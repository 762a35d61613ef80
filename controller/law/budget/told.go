package budget

import (
	"cmp"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// What is said of a link decides where to begin, and nothing else: a budget that begins
// from it is tried out sooner than one that was measured, a cut that goes by it is judged
// as any other, and what is measured replaces it.

// about is by how much of what was found limits that are taken for it may be more or less.
const about = 0.1

// Believe takes the limits that are in force as a leader begins, and in use, for what
// fits where they come to about what was once found to: no more than that is tried for
// in the large steps of who knows nothing. Those of many may come to more.
func (b *Budget) Believe(c Config, load senders.Load, told plan.Told) {
	limits, found := load.Limits, told.Found
	anew := b.Phase == plan.Open && !b.Link.Known && b.touchedAt().IsZero()
	if !anew || found == 0 || load.Seen.IsZero() {
		return
	}
	by := float64(limits) / float64(found)
	switch {
	case load.Sending >= many && by > 1-about && by < (1+about)*(1+mostBooked): // they may be overbooked
		b.Total, b.Search.Overbooked.By = found, max(by, 1)-1
	case near(limits, found, about) && senders.InUse(load.Peak, limits):
		b.Total = limits
	default:
		return
	}
	b.Phase = plan.Settled
	b.Link.learn(bitrate.Scale(b.Total, 1/c.Settle), false)
	b.Link.Best = b.Link.Capacity
}

// guess is what fits through by what is said of the link, or by what leaves the node now; 0 where nothing
// says so, or what is seen speaks against it.
func (t *Turn) guess(b *Budget) bitrate.Rate {
	found := bitrate.Scale(t.Told.Found, 1/t.Config.Settle)
	return b.Link.plausible(min(cmp.Or(found, bitrate.Max), cmp.Or(t.Told.Rate, bitrate.Max), cmp.Or(t.passes(), bitrate.Max)))
}

// plausible is what is guessed to fit, or 0 where what is seen speaks against it: a queue stands although less is
// sent, or more went through without one.
func (l *Link) plausible(guess bitrate.Rate) bitrate.Rate {
	if guess >= l.Upper || guess < l.Proven {
		return 0
	}
	return guess
}

// passes is what fits through by what leaves the node while far more comes to its uplink; 0: that says nothing.
func (t *Turn) passes() bitrate.Rate {
	return queue.Passes(senders.Sums(t.Senders, t.Load.Seen.Add(-8*senders.Window), t.Load.Seen))
}
