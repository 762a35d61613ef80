package blame

import (
	"slices"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// candidates are the places where an app's trouble may come from, the most
// likely first: the uplinks of nodes that send, then the whole cluster.
func candidates(v *sense.Verdict, afar bool, sending Sending) []plan.Bottleneck {
	own, far := plan.Uplink(v.App.Node), plan.Bottleneck{}
	if s := v.Worst.Session; s != nil {
		far = plan.Uplink(s.Vantage)
	}
	order := likely(v, own, far)
	if afar {
		order = []plan.Bottleneck{far, own, plan.Cluster}
	}
	// Near the app there is nothing, or nothing that stays: who sends at the far node is cut, or at its own, and nobody else.
	wellFrom := v.Paths.ClearFrom != 0 && (v.Worst.Forward > 2*v.Worst.Back || !v.Lossy && v.Paths.Seen > 1)
	if (afar || wellFrom) && sending[far] {
		order = slices.DeleteFunc(order, func(name plan.Bottleneck) bool { return name.Whole })
	}
	elsewhere := len(sending)
	for _, name := range order {
		if sending[name] {
			elsewhere--
		}
	}
	order = slices.DeleteFunc(order, func(name plan.Bottleneck) bool {
		// The cluster is no other candidate if all that send are candidates already.
		return !sending[name] || name == plan.Cluster && elsewhere == 0
	})
	if len(order) == 0 {
		return []plan.Bottleneck{own}
	}
	return order
}

// likely goes by the one-way delays: a reply leaves through the uplink of the app's node, a
// request through that of the node it is sent from, and requests that are late from
// wherever they come point to the app's downlink, and so to all that send. Without them
// several vantages tell: what is late from all is near the app.
func likely(v *sense.Verdict, own, far plan.Bottleneck) []plan.Bottleneck {
	forward, back := v.Worst.Forward, v.Worst.Back
	several := v.Paths.Seen > 1
	switch {
	case forward > 2*back && several && v.Paths.ForwardLate == v.Paths.Seen:
		return []plan.Bottleneck{plan.Cluster}
	case forward > 2*back:
		return []plan.Bottleneck{far, plan.Cluster}
	case back > 2*forward, several && v.Paths.Late == v.Paths.Seen:
		return []plan.Bottleneck{own, plan.Cluster}
	case several:
		return []plan.Bottleneck{far, own, plan.Cluster}
	}
	return []plan.Bottleneck{own, far, plan.Cluster}
}
