// Package senders says what the pods that may be limited do: what they send, what
// holds them back, and how long a new limit takes to show.
package senders

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Window is that over which agents measure rates. The usage that counts is the
// peak over a few of them: an average across the onset of congestion mistakes half
// of it for calm.
const Window = 100 * time.Millisecond

const (
	windows   = 4                       // that are newest, of which the highest counts
	longest   = windows * Window        // that a sub-window can be; what is longer is a gap
	useEpoch  = 1500 * time.Millisecond // of a peak: who is quiet for one or two of them lends to others
	forgets   = 0.95                    // left with each epoch of the highest before: half after 20 s
	idleRate  = bitrate.Mbit            // that idle pods use at the most
	idleAfter = 10 * time.Second        // of being quiet
	fills     = 0.9                     // of what may be sent, from which on that holds a sender back
	inUse     = 0.85                    // of what may be sent, below which what is sent says nothing about it
)

// Use is the recent peak of one sender's usage, as a windowed maximum.
type Use struct {
	Pod       plan.PodID
	Since     time.Time
	Now, Last bitrate.Rate
	High      bitrate.Rate // of the epochs before, less by a twentieth with each
	Quiet     time.Time    // since when it sends next to nothing; zero: it sends
}

// Key is the pod.
func (u Use) Key() plan.PodID { return u.Pod }

// Idle reports whether a sender was quiet for a while.
func (u Use) Idle(now time.Time) bool { return !u.Quiet.IsZero() && now.Sub(u.Quiet) >= idleAfter }

// Unused is how much of its limit nobody needs to reckon with: of an idle pod's floor all
// but what it uses. A floor is a promise for when it is used.
func (u Use) Unused(s *plan.Sender, now time.Time) bitrate.Rate {
	if !u.Idle(now) || len(s.Rates) == 0 {
		return 0
	}
	floor, _ := Bounds(s)
	return max(min(floor, LimitOf(s))-u.Recent(), 0)
}

// Recent is the peak of one epoch to two.
func (u Use) Recent() bitrate.Rate { return max(u.Now, u.Last) }

// Bursts is what a sender uses when it sends, also if it is quiet now.
func (u Use) Bursts() bitrate.Rate { return max(u.Recent(), u.High) }

func (u *Use) add(at time.Time, r bitrate.Rate) {
	if u.Since.IsZero() {
		u.Since = at
	}
	if at.Sub(u.Since) >= useEpoch {
		u.High = max(u.Now, bitrate.Scale(u.High, forgets))
		u.Since, u.Last, u.Now = at, u.Now, 0
	}
	u.Now = max(u.Now, r)
	switch {
	case r >= idleRate:
		u.Quiet = time.Time{}
	case u.Quiet.IsZero():
		u.Quiet = at
	}
}

// observeUse brings the peaks up to date; senders in the order of their PodID.
// Where nothing is new it returns what was known.
func observeUse(known []Use, senders []plan.Sender, now time.Time) []Use {
	uses, k := known, 0
	same := len(known) == len(senders)
	for i := range senders {
		s := &senders[i]
		for k < len(known) && known[k].Pod.Compare(s.Pod) < 0 {
			k++
		}
		use := Use{Pod: s.Pod}
		if k < len(known) && known[k].Pod == s.Pod {
			use = known[k]
		}
		if use.add(now, Peak(s, now)); same && use == known[i] {
			continue
		}
		if same || i == 0 {
			uses, same = make([]Use, len(senders)), false
			copy(uses, known[:min(i, len(known))])
		}
		uses[i] = use
	}
	return uses[:len(senders)]
}

// Peak is the highest of a sender's newest sub-windows, and of those that a pause has
// come in at once.
func Peak(s *plan.Sender, now time.Time) bitrate.Rate {
	var most bitrate.Rate
	oldest := now.Add(-(windows+2)*Window - s.Pause)
	for i := len(s.Rates) - 1; i >= 0 && !s.Rates[i].At.Before(oldest); i-- {
		most = max(most, usable(s, s.Rates[i].Tx))
	}
	return most
}

// usable is a measured rate without what the limiter will drop: where the
// counter sits before the limiter it may exceed the limit.
func usable(s *plan.Sender, tx bitrate.Rate) bitrate.Rate {
	return min(tx, cmp.Or(s.Limit, tx))
}

// PeakSum is the highest sum over the senders in any of the newest
// sub-windows. Agents report with different phases, so sums are taken over
// bins of time; a sender without a value in a bin counts with its last one, also one
// whose agent has fallen silent: that is no reason to think that it sends nothing.
// Where nobody counts, the limits are all there is to go by.
func PeakSum(senders []*plan.Sender) bitrate.Rate {
	if !slices.ContainsFunc(senders, func(s *plan.Sender) bool { return len(s.Rates) > 0 }) {
		return SumLimits(senders)
	}
	var sums [windows]bitrate.Rate
	for _, s := range senders {
		if len(s.Rates) == 0 {
			continue
		}
		end, rates := s.Rates[len(s.Rates)-1].At.Time(), s.Rates
		for i := range sums {
			rates = until(rates, end.Add(-time.Duration(i)*Window))
			sums[i] += usable(s, newest(rates))
		}
	}
	return slices.Max(sums[:])
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
		return newest(until(rates, to))
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

// Newest is when a sender's newest sub-window began and ended; zero where there is none.
func Newest(s *plan.Sender) (from, to time.Time) {
	if n := len(s.Rates); n > 0 {
		return began(s.Rates, n-1), s.Rates[n-1].At.Time()
	}
	return from, to
}

// until is the sub-windows that ended by at, give or take half a sub-window.
func until(rates []plan.TxRate, at time.Time) []plan.TxRate {
	at = at.Add(Window / 2)
	for len(rates) > 0 && rates[len(rates)-1].At.After(at) {
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

// LimitOf is a sender's limit in force, or its ceiling where it has none.
func LimitOf(s *plan.Sender) bitrate.Rate {
	_, ceiling := Bounds(s)
	return cmp.Or(s.Limit, ceiling)
}

// Bounds are a sender's floor and ceiling; where it has none, what can be written.
func Bounds(s *plan.Sender) (floor, ceiling bitrate.Rate) {
	floor = cmp.Or(s.Min, bitrate.Min)
	return floor, max(floor, cmp.Or(s.Max, bitrate.Max))
}

// Bound reports whether the limit, not the sender, decides what is sent.
func Bound(s *plan.Sender, usage bitrate.Rate) bool {
	return s.Limit != 0 && Fills(usage, s.Limit)
}

// Fills reports whether so much is sent that what may be is what holds it back.
func Fills(sent, may bitrate.Rate) bool { return float64(sent) >= fills*float64(may) }

// InUse reports whether what is sent is what may be: less says nothing about it.
func InUse(sent, may bitrate.Rate) bool { return float64(sent) >= inUse*float64(may) }

// SumLimits is what the senders may send together.
func SumLimits(senders []*plan.Sender) bitrate.Rate {
	var sum bitrate.Rate
	for _, s := range senders {
		sum += LimitOf(s)
	}
	return sum
}
