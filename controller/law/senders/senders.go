// Package senders says what the pods that may be limited do: what they send, what
// holds them back, and how long a new limit takes to show.
package senders

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Window is that over which agents measure rates. The usage that counts is the
// peak over a few of them: an average across the onset of congestion mistakes half
// of it for calm.
const Window = 100 * time.Millisecond

const (
	windows = 4    // that are newest, of which the highest counts
	fills   = 0.9  // of what may be sent, from which on that holds a sender back
	inUse   = 0.85 // of what may be sent, below which what is sent says nothing about it
)

// Peak is the highest of a sender's newest sub-windows, and of those that a pause has
// come in at once.
func Peak(s *plan.Sender, now time.Time) bitrate.Rate {
	var most bitrate.Rate
	oldest := plan.At(now.Add(-(windows+2)*Window - s.Pause))
	for i := len(s.Rates) - 1; i >= 0 && s.Rates[i].At.Compare(oldest) >= 0; i-- {
		most = max(most, usable(s, s.Rates[i].Tx))
	}
	return most
}

// usable is a measured rate without what the limiter will drop: where the
// counter sits before the limiter it may exceed the limit.
func usable(s *plan.Sender, tx bitrate.Rate) bitrate.Rate {
	return min(tx, cmp.Or(s.Limit, tx))
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
