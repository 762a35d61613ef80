package senders

import (
	"slices"
	"sort"
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
	c.from, c.to = began(s.Rates, n-1), s.Rates[n-1].At
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
	first, last := plan.At(from), plan.At(to)
	var most []plan.TxRate // of that one
	var node string
	var busiest bitrate.Rate
	for _, s := range senders {
		for i := since(s.Rates, first); i < len(s.Rates) && s.Rates[i].At.Compare(last) <= 0; i++ {
			if s.Rates[i].Tx > busiest {
				most, node, busiest = s.Rates, s.Node, s.Rates[i].Tx
			}
		}
	}
	if most == nil {
		return nil
	}
	// On several nodes, or counted before a limiter, they are not what comes to an uplink.
	comparable := !slices.ContainsFunc(senders, func(s *plan.Sender) bool { return s.Node != node || s.Limiter != plan.TokenBucket })
	var all []Sum
	for i := since(most, first); i < len(most) && most[i].At.Compare(last) <= 0; i++ {
		from := began(most, i)
		w := Sum{From: from.Time(), At: most[i].At.Time()}
		for _, s := range senders {
			w.Tx += mean(s.Rates, from, most[i].At)
		}
		if comparable {
			w.Out = most[i].Out
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
	first, last := plan.At(from), plan.At(to)
	var all, part float64 // bits
	for _, s := range senders {
		for i := since(s.Rates, first); i < len(s.Rates); i++ {
			took := within(s.Rates, i, first, last)
			all, part = all+float64(s.Rates[i].Tx)*took, part+float64(usable(s, s.Rates[i].Tx))*took
		}
	}
	took := to.Sub(from).Seconds()
	return bitrate.Rate(all / took), bitrate.Rate(part / took)
}

// Over is the mean of what is known of the time from one to another, or what was last
// known where nothing is.
func Over(rates []plan.TxRate, from, to time.Time) bitrate.Rate {
	return mean(rates, plan.At(from), plan.At(to))
}

func mean(rates []plan.TxRate, from, to plan.Instant) bitrate.Rate {
	var bits, known float64
	for i := since(rates, from); i < len(rates); i++ {
		start := began(rates, i)
		if start.Compare(from) == 0 && rates[i].At.Compare(to) == 0 {
			return rates[i].Tx
		}
		if start.Compare(to) >= 0 {
			break
		}
		took := within(rates, i, from, to)
		bits, known = bits+float64(rates[i].Tx)*took, known+took
	}
	if known == 0 {
		return newest(until(rates, to))
	}
	return bitrate.Rate(bits / known)
}

// since is the first sub-window that ended at a time or later.
func since(rates []plan.TxRate, at plan.Instant) int {
	return sort.Search(len(rates), func(i int) bool { return rates[i].At.Compare(at) >= 0 })
}

// within is how many seconds of a sub-window are from one time to another.
func within(rates []plan.TxRate, i int, from, to plan.Instant) float64 {
	start, end := began(rates, i), rates[i].At
	if from.Compare(start) > 0 {
		start = from
	}
	if to.Compare(end) < 0 {
		end = to
	}
	return max(end.Sub(start).Seconds(), 0)
}

// began is when a sub-window did: each follows the one before, and where the agent's host
// stood still it is longer than usual.
func began(rates []plan.TxRate, i int) plan.Instant {
	if end := rates[i].At; i == 0 || end.Sub(rates[i-1].At) > longest {
		return end.Add(-Window)
	}
	return rates[i-1].At
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
