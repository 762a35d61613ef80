package blame

import (
	"slices"

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

// perNode is for how many senders of a node there is room at first.
const perNode = 12

func indexOf(v sense.View, diagnoses []Diagnosis) index {
	x := index{nodes: make(map[string]*node, len(v.Apps))}
	for i := range v.Senders {
		n := x.nodes[v.Senders[i].Node]
		if n == nil {
			n = &node{senders: make([]int32, 0, perNode), apps: make([]int32, 0, perNode/2)}
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

// Place is a bottleneck with the senders behind it and the apps that may have a say there,
// each by its place in the view.
type Place struct {
	plan.Bottleneck
	Senders []int32
	apps    []int32
}

// Place finds who has to do with a bottleneck.
func (l *Look) Place(b plan.Bottleneck) Place {
	if b.Whole {
		return Place{b, places(len(l.view.Senders)), places(len(l.view.Apps))}
	}
	if n := l.index.nodes[b.Node]; n != nil {
		return Place{b, n.senders, n.apps}
	}
	return Place{Bottleneck: b}
}

// Bottlenecks lists the nodes that have senders and are measured, in order, and the cluster
// last where it is blamed, or is to be there all the same.
func (l *Look) Bottlenecks(cluster bool) []plan.Bottleneck {
	all := make([]plan.Bottleneck, 0, len(l.index.nodes)+1)
	for name, n := range l.index.nodes {
		if n.measured {
			all = append(all, plan.Uplink(name))
		}
	}
	slices.SortFunc(all, plan.Bottleneck.Compare)
	if cluster || l.index.blamed {
		all = append(all, plan.Cluster)
	}
	return all
}
