package senders

import "slices"

// Presume takes some not to slow down for a limit, before Cilium, as long as none of them is known to:
// of who does not, any limit below its offer leaves next to nothing, and takes seconds to come back from.
func (l *Look) Presume(members []int32) {
	if heeds(l.Uses, members, l.At) {
		return
	}
	for _, i := range members {
		if o := &l.Uses[i].Offer; !o.Seen.IsZero() && !o.Steady {
			l.presume(i, true)
		}
	}
}

// Reconsider drops what was presumed of some where one of them is seen to slow down.
func (l *Look) Reconsider(members []int32) {
	presumed := slices.ContainsFunc(members, func(i int32) bool { return l.Uses[i].Offer.Presumed })
	if !presumed || !heeds(l.Uses, members, l.At) {
		return
	}
	for _, i := range members {
		if l.Uses[i].Offer.Presumed {
			l.presume(i, false)
		}
	}
}

// presume takes one not to slow down, or that back. What the step before remembered stays as it is.
func (l *Look) presume(i int32, steady bool) {
	if !l.changed {
		l.Uses, l.changed = slices.Clone(l.Uses), true
	}
	o := &l.Uses[i].Offer
	o.Steady, o.Presumed = steady, steady
}
