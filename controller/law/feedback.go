package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Feedback measures the delay from asking for a lower limit to seeing the
// sender obey it. Every wait of the law is derived from it: a fixed one is
// either too short, and cuts twice for one queue, or too long.
type Feedback struct {
	Pending []LimitState
	Delays  []time.Duration // the newest last
}

const (
	feedbackKept  = 20
	feedbackLeast = 3               // measurements before they are believed
	feedbackWait  = 2 * time.Second // a limit without effect by then tells nothing
	minFeedback   = 100 * time.Millisecond
	maxFeedback   = 2 * time.Second
)

// observe looks for the effect of what was asked for.
func (f Feedback) observe(senders []plan.Sender, now time.Time) Feedback {
	next := Feedback{Delays: slices.Clone(f.Delays)}
	for _, p := range f.Pending {
		s := findSender(senders, p.Pod)
		if s == nil || now.Sub(p.At) > feedbackWait {
			continue
		}
		delay, seen := effect(s.Rates, p)
		if !seen {
			next.Pending = append(next.Pending, p)
			continue
		}
		next.Delays = append(next.Delays, delay)
	}
	if extra := len(next.Delays) - feedbackKept; extra > 0 {
		next.Delays = next.Delays[extra:]
	}
	return next
}

// awaits reports whether a sender has yet to obey, within three times the usual
// delay: where counters sit before the limiter the effect may never show.
func (f Feedback) awaits(pod plan.PodID, now time.Time, usual time.Duration) bool {
	return slices.ContainsFunc(f.Pending, func(l LimitState) bool {
		return l.Pod == pod && now.Sub(l.At) <= 3*usual
	})
}

// effect finds the first sub-window after the request that fits the limit. The
// limit was in force by the beginning of it.
func effect(rates []plan.TxRate, p LimitState) (time.Duration, bool) {
	for _, r := range rates {
		if r.At.After(p.At) && float64(r.Tx) <= 1.05*float64(p.Limit) {
			return max(r.At.Sub(p.At)-subWindow, 0), true
		}
	}
	return 0, false
}

// expect notes the cuts of a plan that will show: those of senders that use
// more than they are to have.
func (f *Feedback) expect(p plan.Plan, senders []plan.Sender) {
	for _, limit := range p.Limits {
		f.Pending = slices.DeleteFunc(f.Pending, func(l LimitState) bool { return l.Pod == limit.Pod })
		s := findSender(senders, limit.Pod)
		if s != nil && limit.Urgent() && float64(peak(*s, p.At)) > 1.1*float64(limit.To) {
			f.Pending = append(f.Pending, LimitState{Pod: limit.Pod, Limit: limit.To, At: p.At})
		}
	}
}

// p95 is the 95th percentile of the delay, or assumed while too little is
// known.
func (f Feedback) p95(assumed time.Duration) time.Duration {
	if len(f.Delays) < feedbackLeast {
		return assumed
	}
	sorted := slices.Sorted(slices.Values(f.Delays))
	return min(max(sorted[(len(sorted)*95-1)/100], minFeedback), maxFeedback)
}

func findSender(senders []plan.Sender, pod plan.PodID) *plan.Sender {
	i, found := slices.BinarySearchFunc(senders, pod, func(s plan.Sender, id plan.PodID) int { return s.Pod.Compare(id) })
	if !found {
		return nil
	}
	return &senders[i]
}
