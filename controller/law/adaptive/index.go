package adaptive

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// index says who has to do with which bottleneck, so that a step costs what there
// is behind each, and not each times all.
type index struct {
	nodes  map[string]*node // that send
	blamed bool             // the cluster
}

// node is who sends from one, and the apps that may have a say there, each by place.
type node struct {
	senders, apps []int32
	measured      bool // a path of an app begins or ends there
}

func indexOf(v sense.View, diagnoses []blame.Diagnosis) *index {
	x := &index{nodes: map[string]*node{}}
	for i := range v.Senders {
		n := x.nodes[v.Senders[i].Node]
		if n == nil {
			n = &node{}
			x.nodes[v.Senders[i].Node] = n
		}
		n.senders = append(n.senders, int32(i))
	}
	note := func(name string, app int, measured bool) {
		n := x.nodes[name]
		if n == nil {
			return
		}
		n.measured = n.measured || measured
		if len(n.apps) == 0 || n.apps[len(n.apps)-1] != int32(app) { // not twice
			n.apps = append(n.apps, int32(app))
		}
	}
	for i := range v.Apps {
		note(v.Apps[i].Node, i, true)
		for k := range v.Apps[i].Sessions {
			note(v.Apps[i].Sessions[k].Vantage, i, true)
		}
		if b := diagnoses[i].Bottleneck; b.Whole {
			x.blamed = true
		} else if b.Node != v.Apps[i].Node {
			note(b.Node, i, false)
		}
	}
	return x
}

// places are those of n values.
func places(n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// members are the senders behind a bottleneck, and the apps that may have a say.
func (r *round) members(b plan.Bottleneck) (senders, apps []int32) {
	if b.Whole {
		return places(len(r.view.Senders)), places(len(r.view.Apps))
	}
	if n := r.index.nodes[b.Node]; n != nil {
		return n.senders, n.apps
	}
	return nil, nil
}

// told is what is said of a bottleneck.
func (r *round) told(b plan.Bottleneck) plan.Told {
	if i, found := plan.Find(r.view.Told, b); found {
		return r.view.Told[i]
	}
	return plan.Told{}
}

// bottlenecks lists the nodes that have senders and are measured, in order,
// and the cluster last where it is blamed or has been.
func (r *round) bottlenecks(known []budget.Budget) []plan.Bottleneck {
	all := make([]plan.Bottleneck, 0, len(r.index.nodes)+1)
	for name, n := range r.index.nodes {
		if n.measured {
			all = append(all, plan.Uplink(name))
		}
	}
	slices.SortFunc(all, plan.Bottleneck.Compare)
	blamed := r.index.blamed
	// A learned budget stays until it has not been needed for long; letting go
	// of it changes no limit.
	if n := len(known); !blamed && n > 0 {
		last := &known[n-1]
		blamed = last.Bottleneck.Whole && last.Link.Known && r.view.At.Sub(last.Link.Cut) < clusterMemory
	}
	if blamed {
		all = append(all, plan.Cluster)
	}
	return all
}

// clusterMemory is how long after its last cut the cluster counts as one
// bottleneck.
const clusterMemory = 5 * time.Minute
