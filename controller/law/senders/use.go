package senders

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

const (
	forgets   = 0.95             // left with each epoch of the highest before: half after 20 s
	idleRate  = bitrate.Mbit     // that idle pods use at the most
	idleAfter = 10 * time.Second // of being quiet
)

// Use is the recent peak of one sender's usage, as a windowed maximum.
type Use struct {
	Pod       plan.PodID
	Since     time.Time
	Now, Last bitrate.Rate
	High      bitrate.Rate // of the epochs before, less by a twentieth with each
	Quiet     time.Time    // since when it sends next to nothing; zero: it sends
	Offer     Offer
}

// Key is the pod.
func (u Use) Key() plan.PodID { return u.Pod }

// Idle reports whether a sender was quiet for a while.
func (u *Use) Idle(now time.Time) bool { return !u.Quiet.IsZero() && now.Sub(u.Quiet) >= idleAfter }

// Unused is how much of its limit nobody needs to reckon with: of an idle pod's floor all
// but what it uses. A floor is a promise for when it is used.
func (u *Use) Unused(s *plan.Sender, now time.Time) bitrate.Rate {
	if !u.Idle(now) || len(s.Rates) == 0 {
		return 0
	}
	floor, _ := Bounds(s)
	return max(min(floor, LimitOf(s))-u.Recent(), 0)
}

// Recent is the peak of one epoch to two.
func (u *Use) Recent() bitrate.Rate { return max(u.Now, u.Last) }

// Bursts is what a sender uses when it sends, also if it is quiet now.
func (u *Use) Bursts() bitrate.Rate { return max(u.Recent(), u.High) }

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

// heeds reports whether one of some that send is known to slow down for a limit.
func heeds(uses []Use, of []int32, now time.Time) bool {
	return slices.ContainsFunc(of, func(i int32) bool { return uses[i].Offer.Heeds && !uses[i].Idle(now) })
}

// passed leaves of what the senders of a group were counted to send what passed their limits: next to
// nothing of one that does not slow down, for as long as its limit is below what it offers. Many flows
// of UDP get all of any limit, and are not told apart: where others do slow down nothing is left away, as
// the link would be taken to carry less than it does, at their cost.
func (l *Look) passed(g *Group) {
	for k, i := range g.Members {
		offer := &l.Uses[i].Offer
		if !offer.Lost() {
			continue
		}
		s := *g.Senders[k]
		s.Rates = slices.Clone(s.Rates)
		for r := range s.Rates {
			if s.Rates[r].At.After(offer.Above) {
				s.Rates[r].Tx = 0
			}
		}
		g.Senders[k] = &s
	}
}

// observeUse brings the peaks up to date, and sees what each sender was counted to send; senders in the order
// of their PodID, to whom a new limit shows after so long.
// Where nothing is new it returns the uses that were known.
func observeUse(known []Use, senders []plan.Sender, now time.Time, shows time.Duration) ([]Use, []count) {
	uses, k := known, 0
	same, counts := len(known) == len(senders), make([]count, len(senders))
	for i := range senders {
		s := &senders[i]
		for k < len(known) && known[k].Pod.Compare(s.Pod) < 0 {
			k++
		}
		use := Use{Pod: s.Pod}
		if k < len(known) && known[k].Pod == s.Pod {
			use = known[k]
		}
		counts[i] = countOf(s)
		use.add(now, Peak(s, now))
		if use.Offer.add(s, now, shows); same && use == known[i] {
			continue
		}
		if same || i == 0 {
			uses, same = make([]Use, len(senders)), false
			copy(uses, known[:min(i, len(known))])
		}
		uses[i] = use
	}
	return uses[:len(senders)], counts
}
