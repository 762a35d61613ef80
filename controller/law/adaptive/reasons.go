package adaptive

import "github.com/detnet/detnet/controller/plan"

// give adds a reason to the plan, and returns its place there.
func (r *round) give(reason plan.Reason) int {
	at := len(r.plan.Reasons)
	r.plan.Reasons = append(r.plan.Reasons, reason)
	if r.given != nil {
		r.given[reason.Bottleneck] = at
	}
	return at
}

// gave is the place of a bottleneck's reason. Most steps never ask.
func (r *round) gave(b plan.Bottleneck) (at int, found bool) {
	if r.given == nil {
		r.given = make(map[plan.Bottleneck]int, len(r.plan.Reasons))
		for i := range r.plan.Reasons {
			r.given[r.plan.Reasons[i].Bottleneck] = i
		}
	}
	at, found = r.given[b]
	return at, found
}
