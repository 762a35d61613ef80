package senders

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

const (
	useEpoch = 1500 * time.Millisecond // of a peak: who is quiet for one or two of them lends to others
	above    = 1.05                    // times its limit: who sends more offers more than it gets
	steady   = 1500 * time.Millisecond // of sending more once a limit shows, until a sender is taken not to slow down
	yields   = time.Second             // of keeping to a limit below what it sent, until it is taken to
)

// Offer is what a sender offers before Cilium, where what is sent is counted before it is limited.
type Offer struct {
	// Steady says that a limit does not have it send less: of one below what it offers it gets
	// next to nothing.
	Steady        bool
	Presumed      bool         // that is not known, nor the contrary of any beside it
	Heeds         bool         // it was seen to slow down for a limit
	Now, Last     bitrate.Rate // as those of Use, of what is counted
	Since         time.Time
	Above, Yields time.Time // since when it sends more than its limit, and keeps to one; zero: it does not
	// Excess is what it sent too much since it last kept to its limit, as the time that the limit takes
	// for it. What is more than the horizon was dropped, and a sender that slows down would have.
	Excess time.Duration
	Seen   time.Time
	Ahead  Ahead
}

// Rate is the most that is offered lately.
func (o *Offer) Rate() bitrate.Rate { return max(o.Now, o.Last) }

// Lost reports whether next to nothing is left of it: its sender does not slow down for a limit below it.
func (o *Offer) Lost() bool { return o.Steady && !o.Above.IsZero() }

// Through reports whether all that is offered passes a limit: its sender does not slow down, so what it sends is all there is.
func (o *Offer) Through(limit bitrate.Rate) bool {
	return o.Steady && o.Above.IsZero() && o.Rate() < limit
}

// Enough is the least limit under which a sender gets all of such an offer.
func Enough(offer bitrate.Rate) bitrate.Rate { return offer + offer*3/100 }

// add takes in what a sender was counted to send, and finds out whether it slows down for a limit. A new
// limit shows after so long.
func (o *Offer) add(s *plan.Sender, now time.Time, shows time.Duration) {
	if s.Limiter != plan.EDT || len(s.Rates) == 0 {
		*o = Offer{}
		return
	}
	if now.Sub(o.Since) >= useEpoch {
		o.Since, o.Last, o.Now = now, o.Now, 0
	}
	o.Ahead.add(s, o.Seen, now, shows)
	first := len(s.Rates) - 1
	for !o.Above.IsZero() && first > 0 && s.Rates[first-1].At.After(o.Seen) { // where all is calm, those of a second come in at once
		first--
	}
	for i := first; i < len(s.Rates); i++ {
		o.count(s, i, now)
	}
	switch {
	case !o.Above.IsZero() && now.Sub(o.Above) >= steady+shows && o.Excess >= plan.Horizon:
		o.Steady, o.Presumed, o.Heeds = true, false, false
	case !o.Yields.IsZero() && now.Sub(o.Yields) >= yields, (o.Presumed || !o.Steady) && s.Limit != 0 && s.Limit < o.Rate() && newest(s.Rates) < o.Rate()/2:
		o.Steady, o.Presumed, o.Heeds = false, false, true
	}
}

// count takes in one sub-window.
func (o *Offer) count(s *plan.Sender, i int, now time.Time) {
	sent, seen, limit := s.Rates[i].Tx, s.Rates[i].At.Time(), LimitOf(s)
	o.Now = max(o.Now, sent)
	over := s.Limit != 0 && sent > bitrate.Scale(limit, above) // a ceiling that is not in force holds nobody back
	switch {
	case !over && Fills(sent, limit), sent < o.Rate()/2: // it keeps to its limit, or slows down if not so far, as many flows of TCP to a low one
		o.Excess = 0
	case over && seen.After(o.Seen):
		o.Excess += time.Duration((float64(sent)/float64(limit) - above) * float64(s.Rates[i].At.Sub(began(s.Rates, i))))
	}
	o.Seen = seen
	lasts(&o.Above, over, now)
	lasts(&o.Yields, !over && Fills(sent, limit) && !Fills(sent, o.Rate()), now)
}

// lasts notes since when something is so.
func lasts(since *time.Time, so bool, now time.Time) {
	switch {
	case !so:
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
}
