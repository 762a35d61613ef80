package blame

import (
	"slices"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// An app that is late both on the way there and on the way back is so by several uplinks: that of
// its own node, and those of the nodes that it is measured from. Each is blamed, and judged by the
// way across it alone: which of them is well by now is known while the others are not.

// ends are the uplinks across which an app is late, its own first, where it is so both ways; nil
// where it is not, or nobody sends at more than one of them.
func ends(v *sense.Verdict, sending Sending) []plan.Bottleneck {
	p := &v.Paths
	if p.LateThere == 0 || p.LateBack == 0 || p.ClearBack != 0 { // what is late on some ways back is not so by its own
		return nil
	}
	all := []plan.Bottleneck{plan.Uplink(v.App.Node)}
	for k := range v.App.Sessions {
		if p.LateThere&(1<<k) != 0 {
			all = append(all, plan.Uplink(v.App.Sessions[k].Vantage))
		}
	}
	all = slices.DeleteFunc(all, func(b plan.Bottleneck) bool { return !sending[b] })
	if len(all) < 2 {
		return nil
	}
	return all
}

// sideways reports whether an app is late on ways that do not cross the uplink of a node, and not on
// those that do.
func sideways(v *sense.Verdict, b plan.Bottleneck) bool {
	return !b.Whole && v.Paths.LateThere|v.Paths.LateBack != 0 && !across(v, b)
}

// across reports whether an app is late by the uplink of a node alone.
func across(v *sense.Verdict, b plan.Bottleneck) bool {
	if b.Node == v.App.Node {
		return v.Paths.LateBack != 0
	}
	return v.Paths.LateThere&from(v.App, b) != 0
}
