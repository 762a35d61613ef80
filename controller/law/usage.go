package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// The usage that counts is the peak over this many sub-windows: an average
// across the onset of congestion mistakes half of it for calm.
const (
	subWindow  = 100 * time.Millisecond
	subWindows = 4
)

// Use is the recent peak of one sender's usage, as a windowed maximum.
type Use struct {
	Pod       plan.PodID
	Since     time.Time
	Now, Last bitrate.Rate
}

// useEpoch is how long a sender must be quiet, once or twice over, before its
// share is lent to others.
const useEpoch = 1500 * time.Millisecond

func (u *Use) add(at time.Time, r bitrate.Rate) {
	if u.Since.IsZero() {
		u.Since = at
	}
	if at.Sub(u.Since) >= useEpoch {
		u.Since, u.Last, u.Now = at, u.Now, 0
	}
	u.Now = max(u.Now, r)
}

// observeUse brings the peaks up to date; senders in the order of their PodID.
func observeUse(known []Use, senders []plan.Sender, now time.Time) []Use {
	uses := make([]Use, len(senders))
	k := 0
	for i, s := range senders {
		for k < len(known) && known[k].Pod.Compare(s.Pod) < 0 {
			k++
		}
		uses[i] = Use{Pod: s.Pod}
		if k < len(known) && known[k].Pod == s.Pod {
			uses[i] = known[k]
		}
		uses[i].add(now, peak(s, now))
	}
	return uses
}

// peak is the highest of a sender's newest sub-windows.
func peak(s plan.Sender, now time.Time) bitrate.Rate {
	var most bitrate.Rate
	for _, r := range s.Rates {
		if now.Sub(r.At) <= (subWindows+2)*subWindow {
			most = max(most, usable(s, r.Tx))
		}
	}
	return most
}

// usable is a measured rate without what the limiter will drop: where the
// counter sits before the limiter it may exceed the limit.
func usable(s plan.Sender, tx bitrate.Rate) bitrate.Rate {
	if s.Limit != 0 {
		tx = min(tx, s.Limit)
	}
	return tx
}

// peakSum is the highest sum over the senders in any of the newest
// sub-windows. Agents report with different phases, so sums are taken over
// bins of time; a sender without a value in a bin counts with its last one.
// Where nobody counts, the limits are all there is to go by.
func peakSum(senders []*plan.Sender, now time.Time) bitrate.Rate {
	if !slices.ContainsFunc(senders, func(s *plan.Sender) bool { return len(s.Rates) > 0 }) {
		return sumLimits(senders)
	}
	var sums [subWindows]bitrate.Rate
	for _, s := range senders {
		if len(s.Rates) == 0 {
			continue
		}
		end := s.Rates[len(s.Rates)-1].At
		if now.Sub(end) > time.Second {
			continue // the agent is gone; nothing is known
		}
		for i := range sums {
			at := end.Add(-time.Duration(i) * subWindow)
			sums[i] += usable(*s, rateAt(s.Rates, at))
		}
	}
	return slices.Max(sums[:])
}

// sums are the sums over the senders in the sub-windows of the one that sends
// most that ended from one time to another.
func sums(senders []*plan.Sender, from, to time.Time) []plan.TxRate {
	var most *plan.Sender
	var busiest bitrate.Rate
	for _, s := range senders {
		for _, r := range s.Rates {
			if r.Tx > busiest && !r.At.Before(from) && !r.At.After(to) {
				most, busiest = s, r.Tx
			}
		}
	}
	if most == nil {
		return nil
	}
	var all []plan.TxRate
	for _, r := range most.Rates {
		if r.At.Before(from) || r.At.After(to) {
			continue
		}
		w := plan.TxRate{At: r.At}
		for _, s := range senders {
			w.Tx += rateAt(s.Rates, r.At)
		}
		all = append(all, w)
	}
	return all
}

// uncapped is a measured rate as it is.
func uncapped(_ plan.Sender, tx bitrate.Rate) bitrate.Rate { return tx }

// meanSum is what the senders sent from one time to another on average, by the
// part of the measured rates that counts; 0 if nobody counted.
func meanSum(senders []*plan.Sender, from, to time.Time, counts func(plan.Sender, bitrate.Rate) bitrate.Rate) bitrate.Rate {
	var bits float64
	for _, s := range senders {
		for _, r := range s.Rates {
			start, end := maxTime(from, r.At.Add(-subWindow)), r.At
			if to.Before(end) {
				end = to
			}
			if end.After(start) {
				bits += float64(counts(*s, r.Tx)) * end.Sub(start).Seconds()
			}
		}
	}
	if !to.After(from) {
		return 0
	}
	return bitrate.Rate(bits / to.Sub(from).Seconds())
}

// rateAt is the rate of the newest sub-window that ended by at, give or take
// half a sub-window.
func rateAt(rates []plan.TxRate, at time.Time) bitrate.Rate {
	for i := len(rates) - 1; i >= 0; i-- {
		if rates[i].At.Sub(at) <= subWindow/2 {
			return rates[i].Tx
		}
	}
	return 0
}

// limitOf is a sender's limit in force, or its ceiling where it has none.
func limitOf(s plan.Sender) bitrate.Rate {
	_, ceiling := bounds(s, bitrate.Min, bitrate.Max)
	return inForce(s, ceiling)
}

// sumLimits is what the senders may send together.
func sumLimits(senders []*plan.Sender) bitrate.Rate {
	var sum bitrate.Rate
	for _, s := range senders {
		sum += limitOf(*s)
	}
	return sum
}
