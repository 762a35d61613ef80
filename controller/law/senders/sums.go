package senders

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// longest is what a sub-window can take; what is longer is a gap.
const longest = windows * Window

// count is what a sender was counted to send in the newest sub-windows, by bins of time back from the newest
// one, of which a bin without a value has the last one before. Where there is none all is zero.
type count struct {
	from, to plan.Instant // of the newest sub-window
	sent     [windows]bitrate.Rate
}

func countOf(s *plan.Sender) (c count) {
	n := len(s.Rates)
	if n == 0 {
		return c
	}
	c.from, c.to = plan.At(began(s.Rates, n-1)), s.Rates[n-1].At
	rates := s.Rates
	for i := range c.sent {
		rates = until(rates, c.to.Add(-time.Duration(i)*Window))
		c.sent[i] = usable(s, newest(rates))
	}
	return c
}

// sums are those of counts, by bins: agents report with different phases.
type sums struct {
	newest plan.Instant
	sent   [windows]bitrate.Rate
}

// add reports whether a count is newer than those before.
func (s *sums) add(c *count) (newer bool) {
	for i := range s.sent {
		s.sent[i] += c.sent[i]
	}
	if newer = c.to.Compare(s.newest) > 0; newer {
		s.newest = c.to
	}
	return newer
}

// peak is the highest of them; where nobody counts, the limits are all there is to go by.
func (s *sums) peak(senders []*plan.Sender) bitrate.Rate {
	if s.newest == 0 {
		return SumLimits(senders)
	}
	return slices.Max(s.sent[:])
}

// PeakSum is the highest sum over the senders in any of the newest
// sub-windows. A sender without a value in one counts with its last one, also one
// whose agent has fallen silent: that is no reason to think that it sends nothing.
// Where nobody counts, the limits are all there is to go by.
func PeakSum(senders []*plan.Sender) bitrate.Rate {
	var all sums
	for _, s := range senders {
		c := countOf(s)
		all.add(&c)
	}
	return all.peak(senders)
}

// Sum is what all senders sent over one sub-window.
type Sum struct {
	From, At time.Time // its beginning and end
	Tx       bitrate.Rate
	Out      bitrate.Rate // what left their node meanwhile; 0: not known, or no measure of Tx
}

// Sums are the sums over the senders in the sub-windows of the one that sends
// most that ended from one time to another.
func Sums(senders []*plan.Sender, from, to time.Time) []Sum {
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
	// On several nodes, or counted before a limiter, they are not what comes to an uplink.
	comparable := !slices.ContainsFunc(senders, func(s *plan.Sender) bool { return s.Node != most.Node || s.Limiter != plan.TokenBucket })
	var all []Sum
	for i, r := range most.Rates {
		if r.At.Before(from) || r.At.After(to) {
			continue
		}
		w := Sum{From: began(most.Rates, i), At: r.At.Time()}
		for _, s := range senders {
			w.Tx += Over(s.Rates, w.From, w.At)
		}
		if comparable {
			w.Out = r.Out
		}
		all = append(all, w)
	}
	return all
}

// MeanSum is what the senders sent from one time to another on average, as it was
// counted, and the part of it that is usable; 0 if nobody counted.
func MeanSum(senders []*plan.Sender, from, to time.Time) (counted, passed bitrate.Rate) {
	if !to.After(from) {
		return 0, 0
	}
	var all, part float64 // bits
	for _, s := range senders {
		for i, r := range s.Rates {
			took := within(s.Rates, i, from, to)
			all, part = all+float64(r.Tx)*took, part+float64(usable(s, r.Tx))*took
		}
	}
	took := to.Sub(from).Seconds()
	return bitrate.Rate(all / took), bitrate.Rate(part / took)
}

// Over is the mean of what is known of the time from one to another, or what was last
// known where nothing is.
func Over(rates []plan.TxRate, from, to time.Time) bitrate.Rate {
	var bits, known float64
	for i, r := range rates {
		if r.At.Time().Equal(to) && began(rates, i).Equal(from) {
			return r.Tx
		}
		took := within(rates, i, from, to)
		bits, known = bits+float64(r.Tx)*took, known+took
	}
	if known == 0 {
		return newest(until(rates, plan.At(to)))
	}
	return bitrate.Rate(bits / known)
}

// within is how many seconds of a sub-window are from one time to another.
func within(rates []plan.TxRate, i int, from, to time.Time) float64 {
	start, end := began(rates, i), rates[i].At.Time()
	if from.After(start) {
		start = from
	}
	if to.Before(end) {
		end = to
	}
	return max(end.Sub(start).Seconds(), 0)
}

// began is when a sub-window did: each follows the one before, and where the agent's host
// stood still it is longer than usual.
func began(rates []plan.TxRate, i int) time.Time {
	if end := rates[i].At; i == 0 || end.Sub(rates[i-1].At) > longest {
		return end.Time().Add(-Window)
	}
	return rates[i-1].At.Time()
}

// until is the sub-windows that ended by at, give or take half a sub-window.
func until(rates []plan.TxRate, at plan.Instant) []plan.TxRate {
	at = at.Add(Window / 2)
	for len(rates) > 0 && rates[len(rates)-1].At.Compare(at) > 0 {
		rates = rates[:len(rates)-1]
	}
	return rates
}

func newest(rates []plan.TxRate) bitrate.Rate {
	if len(rates) == 0 {
		return 0
	}
	return rates[len(rates)-1].Tx
}
