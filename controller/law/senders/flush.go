package senders

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Flush is a change of a limit behind which packets wait that the change would not
// hold back (plan.EDT): they leave at the old rate, beside what comes at the new
// one. So the limit is low until they are gone.
type Flush struct {
	Pod     plan.PodID
	At      time.Time    // since when it is low
	Was     bitrate.Rate // before that
	Low     bitrate.Rate // what it is meanwhile
	To      bitrate.Rate // what it is to be after it
	Restore bool         // the limits go back up, whoever is late
	Over    bool         // what waited is gone
	Shown   bool         // the low limit was seen in force
	Asked   bool         // what it is to be was asked for
}

// Key is the pod.
func (f Flush) Key() plan.PodID { return f.Pod }

const (
	// patience is how long a limit stays low where a raise is forbidden: then it is again
	// what it was, or less where that was wanted.
	patience = plan.Horizon + 3*time.Second
	// leastFlush is how long what waits is given at the least where that is no more its socket's: TCP
	// may send nothing for a moment although its packets still wait.
	leastFlush = 200 * time.Millisecond
	// low is what a limit lets through of what it did while what waits leaves: less than
	// is left free beside what the limit is to be then.
	low = 0.03
	// idles is the share of a limit that is next to nothing where no more leaves the whole node.
	idles = 0.1
)

// Back is what a limit goes back to, whoever is in trouble.
func (f Flush) Back() bitrate.Rate { return min(f.Was, f.To) }

// Late reports whether a limit was low for as long as may be.
func (f Flush) Late(now time.Time) bool { return now.Sub(f.At) >= patience }

// Low is what a sender's limit is while what waits behind it leaves. Under legacy host routing what comes meanwhile goes on at that beside what the limit
// is to be then; what sockets have waiting is left free.
func Low(s *plan.Sender, to bitrate.Rate) bitrate.Rate {
	least := s.Limit
	if s.Limiter == plan.EDT {
		least = min(least, to)
	}
	return min(max(bitrate.Scale(least, low), bitrate.Min).Quantise(), least)
}

// Waits reports whether packets wait in a sender's limiter that a change does not
// hold back: where a sender notices the queue at its own limit only if a burst was seen
// after a change. Where next to nothing leaves the node, as under limits that are less than those offer that
// do not slow down, what waits is little, and no less after a low limit: who is to have less, or all that it offers, need not wait.
func (u *Use) Waits(s *plan.Sender, to bitrate.Rate, burst bool) bool {
	useful := to < s.Limit || to >= u.Offer.Rate()
	if out := newestOut(s.Rates); useful && u.Offer.Lost() && out > 0 && out < bitrate.Scale(s.Limit, idles) {
		return false
	}
	return (s.Limiter == plan.EDT && !u.Offer.Through(s.Limit) || s.Limiter == plan.EDTHostRouting && burst) && Bound(s, u.Recent())
}

// newestOut is what left a sender's node in the newest sub-window; 0: nobody tells.
func newestOut(rates []plan.TxRate) bitrate.Rate {
	if len(rates) == 0 {
		return 0
	}
	return rates[len(rates)-1].Out
}

// flushed brings flushes up to date: the senders in the order of their PodID, as the
// flushes are. What waited is gone once a sender is seen to obey the low limit, or
// where that cannot be seen, as of UDP that offers more whatever comes of it, after
// the horizon, or sooner where less waited than that. A packet that leaves a full socket has
// another one come, so of who is seen to obey nothing more leaves at the old rate. A flush ends when its low limit is seen to be another one: writes take
// their time. One whose low limit is never seen ends when it is late, and one after which
// the limit is to be no other at once.
func (f Feedback) flushed(known []Flush, senders []plan.Sender, uses []Use, now time.Time) []Flush {
	var next []Flush
	for _, x := range known {
		i, found := plan.Find(senders, x.Pod)
		if !found {
			continue
		}
		low := senders[i].Limit == x.Low
		if low {
			x.Shown = true
		} else if x.Asked && (x.Shown || senders[i].Limit != x.Was) || x.Over && x.Late(now) {
			continue
		}
		_, pending := plan.Find(f.Pending, x.Pod)
		took := now.Sub(x.At) - f.P95(minFeedback)
		left := x.Shown && uses[i].Offer.Steady && now.After(uses[i].Offer.Ahead.Gone)
		told := senders[i].Limiter == plan.EDTHostRouting || took >= leastFlush
		x.Over = x.Over || (!pending || left) && told || took > plan.Horizon
		if x.Over && low && x.To.Quantise() <= senders[i].Limit {
			continue // it has what it is to be
		}
		next = append(next, x)
	}
	return next
}

// hold keeps the uses as they were of senders whose limit is low for a while: what they
// send says nothing of what they would, but for what they offer. Was and is are in the order of the senders at
// the step before and now; neither is changed.
func hold(is, was []Use, flushes []Flush, now time.Time) []Use {
	if len(flushes) == 0 {
		return is
	}
	held := slices.Clone(is)
	for _, f := range flushes {
		i, here := plan.Find(held, f.Pod)
		k, known := plan.Find(was, f.Pod)
		if here && known {
			held[i] = was[k]
			held[i].Since, held[i].Offer = now, is[i].Offer
		}
	}
	return held
}
