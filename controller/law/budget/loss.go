package budget

import (
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
)

// A link that queues nothing loses what is too much: of what is used so much fits
// through as is not lost. Loss is known later than delay, and a little of it takes many
// probes to be seen at all.

const (
	lossTime   = time.Second            // that is looked at for how much is lost
	lossKnown  = 700 * time.Millisecond // from the effect of a cut until loss after it would be known
	leastLost  = 2                      // probes: one may be lost for any reason
	mostBelief = 0.9                    // share that is believed: some of what is sent arrives
)

// loses reports whether it is loss that says so: there is no queue, or a cut left one that is held
// short. On a link that is known to lose, two probes are enough after a raise.
func (t *Turn) loses(b *Budget) bool {
	v := t.Opinion
	held := b.again() && v.Lossy && v.Worst.Tail <= v.Allow && !t.Load.Paced // to search on would cost too much there
	if (v.Standing || v.Tail) && !held {
		return false
	}
	return v.Lossy || b.Link.Loses && t.raised(b) && v.Worst.LostCount >= leastLost
}

// loss is the share of the probes on the worst path that are lost, since the first that
// was, of those that say anything of the last cut.
func (t *Turn) loss(b *Budget) float64 {
	lost, _ := t.losses(b)
	return lost
}

// losses is the same, with how far that may be off (the standard error of a share of so few probes).
func (t *Turn) losses(b *Budget) (share, off float64) {
	session := t.Opinion.Worst.Session
	if session == nil {
		return 0, 0
	}
	seen, all, lost := 0, 0, 0
	for _, s := range slices.Backward(session.Samples) {
		if t.Now.Sub(s.At.Time()) > lossTime || s.At.Before(b.Link.EffectBy) {
			break
		}
		if seen++; s.Lost {
			all, lost = seen, lost+1
		}
	}
	if all == 0 {
		return 0, 0
	}
	share = float64(lost) / float64(all)
	return min(share, mostBelief), math.Sqrt(share * (1 - share) / float64(all))
}

// fits learns what fits through from how much is lost, and reports whether more is to be
// looked for at once: the share that probes lose is that of the traffic only about.
func (t *Turn) fits(b *Budget) (explore bool) {
	l := &b.Link
	l.Loses = true
	if !b.again() && t.raised(b) && l.Proven > 0 { // back to what was good
		good := bitrate.Scale(l.Proven, proven/t.Config.Settle)
		if b.Search.Even && t.Load.Sockets { // what a low limit left waiting went through beside it
			good = bitrate.Scale(l.Proven, 1/t.Config.Settle)
		}
		l.learn(good, true)
		return exceeds(l.Upper, l.Capacity)
	}
	l.learn(bitrate.Scale(l.Upper, 1-t.loss(b)), false)
	return true
}

// unknown reports whether loss after the last cut, if there is any, may not be known yet.
func (t *Turn) unknown(b *Budget) bool {
	return b.Trouble.Found.Loss > 0 && t.Now.Sub(b.Link.EffectBy) < lossKnown+senders.Window
}

// touched reports whether the newest samples are late or lost after a try for more: there
// is little doubt then, and a queue of less than the target is quickly undone.
func (t *Turn) touched(b *Budget) bool {
	v := t.Opinion
	if t.Load.Paced && t.Load.Peak < b.Link.Proven { // as much was let through without a queue: they are not back yet
		return false
	}
	return t.raised(b) && (v.Allow != 0 && v.Worst.Recent > v.Soft || t.loses(b))
}
