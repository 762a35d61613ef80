package senders

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

const fits = 0.97 // of its limit: who sends less does not get ahead of it, however it is counted

// Ahead is how long, at most, packets of a sender wait before Cilium. A packet leaves when the limit
// has time for it, and a new limit forgets for how long those before it have taken that.
type Ahead struct {
	By    time.Duration // what is sent leaves later than it is sent, under Limit
	Limit bitrate.Rate  // 0: there is none, and nothing waits
	Gone  time.Time     // when what waited under limits before that has left
	Was   bitrate.Rate  // the last of these, at which it does
}

// Beside is what goes on at a lower limit of before, beside what is let through now.
func (a *Ahead) Beside(now time.Time) bitrate.Rate {
	if now.Before(a.Gone) && a.Was < a.Limit {
		return a.Was
	}
	return 0
}

// add takes in what was sent since it was last seen. A new limit is in force after so long.
func (a *Ahead) add(s *plan.Sender, last, now time.Time, shows time.Duration) {
	first := len(s.Rates)
	for first > 0 && s.Rates[first-1].At.After(last) {
		first--
	}
	for i := first; i < len(s.Rates); i++ {
		a.send(s.Rates[i].Tx, s.Rates[i].At.Time().Sub(latest(began(s.Rates, i).Time(), last)))
	}
	if s.Limit != a.Limit {
		if a.Limit != 0 {
			a.send(s.Rates[len(s.Rates)-1].Tx, shows) // as under the limit before
			a.Gone, a.Was = latest(a.Gone, now.Add(shows+a.By)), a.Limit
		}
		a.By, a.Limit = 0, s.Limit
	}
}

func (a *Ahead) send(rate bitrate.Rate, lasting time.Duration) {
	if a.Limit != 0 {
		by := (float64(rate)/float64(a.Limit) - fits) * float64(lasting)
		a.By = min(max(a.By+time.Duration(min(by, float64(plan.Horizon))), 0), plan.Horizon)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
