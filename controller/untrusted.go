package controller

import (
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// maxUntrusted bounds how many pods without signed stamps the status names:
// after an upgrade it may be all of them.
const maxUntrusted = 20

// showUntrusted counts the pods that carry no stamps of admission's, and names
// some.
func showUntrusted(s *status.Status, known *inventory.Snapshot) {
	for _, u := range known.Unstamped {
		if u.Outdated {
			continue // what it carries counts
		}
		s.Unstamped++
		if s.Unstamped > maxUntrusted {
			continue
		}
		text := "it was created without passing the webhook: it is neither protected nor limited until it is mended or recreated, as with kubectl rollout restart"
		if u.Forged {
			text = "its stamps are not signed by admission and count for nothing: it is neither protected nor limited until it is mended or recreated, as with kubectl rollout restart"
		}
		s.Problems = append(s.Problems, status.Problem{Object: "pod " + u.Pod.String(), Text: text, Unstamped: true})
	}
	s.GivingBack = len(known.GiveBack)
}

// enforcing says what would change if the pods that are only observed were
// enforced upon.
func enforcing(known *inventory.Snapshot, o plan.Observation, decided []outcome) *status.Enforcing {
	var e status.Enforcing
	for _, app := range known.Apps {
		if app.Mode == workload.Observe {
			e.Apps++
		}
	}
	for i, sender := range known.Senders {
		if sender.Mode != workload.Observe {
			continue
		}
		e.Senders++
		shown := showSender(sender, &o.Senders[i], o.At)
		e.UsageBps += shown.UsageBps
		if sender.Limit == 0 && sender.Initial != 0 {
			e.Unlimited++
			e.InitialBps += sender.Initial
		}
	}
	for _, u := range known.Unstamped {
		if u.Mode == workload.Observe {
			e.Unstamped++
		}
	}
	for _, d := range decided {
		if !d.observed {
			continue
		}
		for _, limit := range d.Limits {
			if limit.Urgent() {
				e.Cuts++
			}
		}
	}
	if e == (status.Enforcing{}) {
		return nil
	}
	return &e
}
