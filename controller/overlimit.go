package controller

import (
	"fmt"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// By how much, for how long and in how many measurements at least a pod has to send
// more than its limit. TCP obeys a new limit within half of that.
const (
	overBy    = 1.2
	overFor   = plan.Horizon
	overTimes = 10
)

// overLimit says what becomes of a pod that sends more than its limit before Cilium and
// does not slow down; "" of others. The agents count what a pod sends, before Cilium drops
// any of it; what is left of it is counted nowhere for a single pod.
func overLimit(s *plan.Sender, now time.Time) string {
	if s.Limiter != plan.EDT || s.Limit == 0 {
		return ""
	}
	times := 0
	for _, r := range s.Rates {
		switch {
		case now.Sub(r.At.Time()) > overFor+s.Pause:
		case float64(r.Tx) < overBy*float64(s.Limit):
			return ""
		default:
			times++
		}
	}
	if times < overTimes {
		return ""
	}
	return fmt.Sprintf("it sends more than its limit of %v and does not slow down, as UDP may not: of each flow little more than 100 packets in %.0f s get through, and how many do is not counted; "+
		"have it watch for losses and slow down, spread it over more flows, or bound it where it is made (docs/cilium.md#udp-that-does-not-slow-down)", s.Limit, plan.Horizon.Seconds())
}

// cutLately are the pods that were cut while what overLimit looks at was measured, by
// decisions that are the newest first.
func cutLately(decisions []status.Decision, now time.Time) map[string]bool {
	pods := map[string]bool{}
	for _, d := range decisions {
		if now.Sub(d.At) > overFor {
			break
		}
		for _, l := range d.Limits {
			if !d.Observed && l.ToBps < l.FromBps {
				pods[l.Pod] = true
			}
		}
	}
	return pods
}
