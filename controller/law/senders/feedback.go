package senders

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
)

// Feedback measures the delay from asking for a lower limit to seeing the
// sender obey it. Every wait of the law is derived from it: a fixed one is
// either too short, and cuts twice for one queue, or too long.
type Feedback struct {
	Pending []Limit         // in the order of their PodID
	Delays  []time.Duration // the newest last
}

// Limit is one that was asked for at some time.
type Limit struct {
	Pod   plan.PodID
	Limit bitrate.Rate
	At    time.Time
}

// Key is the pod.
func (l Limit) Key() plan.PodID { return l.Pod }

const (
	feedbackKept  = 20
	feedbackLeast = 3               // measurements before they are believed
	feedbackWait  = 2 * time.Second // a limit without effect by then tells nothing
	minFeedback   = 100 * time.Millisecond
	maxFeedback   = 2 * time.Second
)

// Observe looks for the effect of what was asked for.
func (f Feedback) Observe(senders []plan.Sender, now time.Time) Feedback {
	next := Feedback{Delays: slices.Clone(f.Delays)}
	at := -1 // both are in the order of their PodID, and often neighbours
	for _, p := range f.Pending {
		i, found := plan.FindNear(senders, p.Pod, at+1)
		at = i
		if !found || now.Sub(p.At) > wait(&senders[i]) {
			continue
		}
		delay, seen := effect(senders[i].Rates, p)
		if !seen {
			if next.Pending == nil {
				next.Pending = make([]Limit, 0, len(f.Pending))
			}
			next.Pending = append(next.Pending, p)
			continue
		}
		next.Delays = append(next.Delays, delay)
	}
	next.Delays = next.Delays[max(len(next.Delays)-feedbackKept, 0):]
	return next
}

// wait is how long the effect of a limit may take to show.
func wait(s *plan.Sender) time.Duration {
	if s.Limiter.Departures() {
		return plan.Horizon + feedbackWait
	}
	return feedbackWait
}

// effect finds the first sub-window after the request that fits the limit. The
// limit was in force by the beginning of it.
func effect(rates []plan.TxRate, p Limit) (time.Duration, bool) {
	for _, r := range rates {
		if r.At.After(p.At) && float64(r.Tx) <= 1.05*float64(p.Limit) {
			return max(r.At.Time().Sub(p.At)-Window, 0), true
		}
	}
	return 0, false
}

// Expect notes the cuts of a plan that will show: those of senders that use
// more than they are to have.
func (f *Feedback) Expect(p plan.Plan, senders []plan.Sender) {
	if len(p.Limits) == 0 {
		return
	}
	f.Pending = slices.DeleteFunc(f.Pending, func(l Limit) bool {
		_, anew := plan.Find(p.Limits, l.Pod)
		return anew
	})
	at := -1 // both are in the order of their PodID, and often neighbours
	for _, limit := range p.Limits {
		if !limit.Urgent() {
			continue
		}
		i, _ := plan.FindNear(senders, limit.Pod, at+1)
		at = i
		to, used := limit.To, Peak(&senders[i], p.At)
		if senders[i].Limiter.Departures() {
			to = max(to, used/3) // TCP sends a little more than next to nothing before the limiter
		}
		if float64(used) > 1.1*float64(to) {
			f.Pending = append(f.Pending, Limit{Pod: limit.Pod, Limit: to, At: p.At})
		}
	}
	plan.Sort(f.Pending)
}

// P95 is the 95th percentile of the delay; while too little is known it is assumed, or the
// longest that was seen if that is more.
func (f Feedback) P95(assumed time.Duration) time.Duration {
	if len(f.Delays) < feedbackLeast {
		for _, d := range f.Delays {
			assumed = max(assumed, min(d, maxFeedback))
		}
		return assumed
	}
	sorted := slices.Sorted(slices.Values(f.Delays))
	return min(max(quantile.Of(sorted, 0.95), minFeedback), maxFeedback)
}
