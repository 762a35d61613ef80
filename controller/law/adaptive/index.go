package adaptive

import (
	"cmp"
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
	nodes    map[string]int32 // of those that send
	names    []string         // of the nodes, as they were met
	measured []bool           // by node: a path of an app begins or ends there
	senders  [][]int32        // by node
	apps     [][]int32        // by node: those that may have a say
	blamed   bool             // the cluster
}

func indexOf(v sense.View, diagnoses []blame.Diagnosis) *index {
	x := &index{nodes: map[string]int32{}}
	at := make([]int32, len(v.Senders)) // node of each sender
	for i := range v.Senders {
		node := v.Senders[i].Node
		k, known := x.nodes[node]
		if !known {
			k = int32(len(x.names))
			x.nodes[node], x.names = k, append(x.names, node)
		}
		at[i] = k
	}
	x.senders, x.measured = grouped(at, len(x.names)), make([]bool, len(x.names))
	of, apps := make([]int32, 0, 4*len(v.Apps)), make([]int32, 0, 4*len(v.Apps))
	note := func(node string, app int, measured bool) {
		if k, sends := x.nodes[node]; sends {
			of, apps = append(of, k), append(apps, int32(app))
			x.measured[k] = x.measured[k] || measured
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
	x.apps = grouped(of, len(x.names))
	for k, list := range x.apps {
		for n, place := range list {
			list[n] = apps[place]
		}
		x.apps[k] = slices.Compact(list)
	}
	return x
}

// grouped lists the places of each of n values.
func grouped(of []int32, n int) [][]int32 {
	lists := make([][]int32, n)
	for i, k := range of {
		lists[k] = append(lists[k], int32(i))
	}
	return lists
}

func count(n int) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// members are the senders behind a bottleneck, and the apps that may have a say.
func (r *round) members(b plan.Bottleneck) (senders, apps []int32) {
	x := r.index
	if b.Whole {
		return count(len(r.view.Senders)), count(len(r.view.Apps))
	}
	if k, sends := x.nodes[b.Node]; sends {
		return x.senders[k], x.apps[k]
	}
	return nil, nil
}

// told is what is said of a bottleneck.
func (r *round) told(b plan.Bottleneck) plan.Told {
	i, found := slices.BinarySearchFunc(r.view.Told, b.Node, func(t plan.Told, node string) int { return cmp.Compare(t.Node, node) })
	if b.Whole || !found {
		return plan.Told{}
	}
	return r.view.Told[i]
}

// bottlenecks lists the nodes that have senders and are measured, in order,
// and the cluster last where it is blamed or has been.
func (r *round) bottlenecks(known []budget.Budget) []plan.Bottleneck {
	x := r.index
	all := make([]plan.Bottleneck, 0, len(x.names)+1)
	for k, node := range x.names {
		if x.measured[k] {
			all = append(all, plan.Uplink(node))
		}
	}
	slices.SortFunc(all, plan.Bottleneck.Compare)
	blamed := x.blamed
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
