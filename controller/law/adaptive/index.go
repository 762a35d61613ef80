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
	nodes   map[string]int32 // of those that send
	names   []string         // of the nodes, in their order
	senders [][]int32        // by node
	apps    [][]int32        // by node: those that may have a say
	all     [2][]int32       // senders and apps, made when the cluster is looked at
}

func indexOf(v sense.View, suspicions []blame.Suspicion) *index {
	x := &index{nodes: map[string]int32{}}
	at := make([]int32, len(v.Senders)) // node of each sender
	for i := range v.Senders {
		node := v.Senders[i].Node
		k, known := x.nodes[node]
		if !known {
			k = int32(len(x.names))
			x.nodes[node] = k
			x.names = append(x.names, node)
		}
		at[i] = k
	}
	x.senders = grouped(at, len(x.names))
	var of, apps []int32
	note := func(node string, app int) {
		k, sends := x.nodes[node]
		if n := len(apps); sends && !(n > 0 && of[n-1] == k && apps[n-1] == int32(app)) {
			of, apps = append(of, k), append(apps, int32(app))
		}
	}
	for i := range v.Apps {
		note(v.Apps[i].Node, i)
		for k := range v.Apps[i].Sessions {
			note(v.Apps[i].Sessions[k].Vantage, i)
		}
		note(suspicions[i].Bottleneck.Node, i)
	}
	x.apps = grouped(of, len(x.names))
	for _, list := range x.apps {
		for k, place := range list {
			list[k] = apps[place]
		}
	}
	for k, list := range x.apps {
		x.apps[k] = slices.Compact(list)
	}
	return x
}

// grouped lists the places of each of n values.
func grouped(of []int32, n int) [][]int32 {
	counts := make([]int32, n)
	for _, k := range of {
		counts[k]++
	}
	room, lists := make([]int32, len(of)), make([][]int32, n)
	for k, count := range counts {
		lists[k], room = room[:0:count], room[count:]
	}
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
		if x.all[0] == nil {
			x.all = [2][]int32{count(len(r.view.Senders)), count(len(r.view.Apps))}
		}
		return x.all[0], x.all[1]
	}
	if k, sends := x.nodes[b.Node]; sends {
		return x.senders[k], x.apps[k]
	}
	return nil, nil
}

// bottlenecks lists the nodes that have senders and are measured, in order,
// and the cluster last where it is suspected or has been.
func (r *round) bottlenecks(known []budget.Budget) []plan.Bottleneck {
	x := r.index
	measured := make([]bool, len(x.names))
	note := func(node string) {
		if k, sends := x.nodes[node]; sends {
			measured[k] = true
		}
	}
	suspected := false
	for i := range r.view.Apps {
		app := &r.view.Apps[i]
		note(app.Node)
		for k := range app.Sessions {
			note(app.Sessions[k].Vantage)
		}
		suspected = suspected || r.state.Suspicions[i].Bottleneck == plan.Cluster
	}
	all := make([]plan.Bottleneck, 0, len(x.names)+1)
	for k, node := range x.names {
		if measured[k] {
			all = append(all, plan.Uplink(node))
		}
	}
	slices.SortFunc(all, func(a, b plan.Bottleneck) int { return cmp.Compare(a.Node, b.Node) })
	// A learned budget stays until it has not been needed for long; letting go
	// of it changes no limit.
	if n := len(known); !suspected && n > 0 {
		last := &known[n-1]
		suspected = last.Bottleneck.Whole && last.Link.Known && r.view.At.Sub(last.Acts.Cut) < clusterMemory
	}
	if suspected {
		all = append(all, plan.Cluster)
	}
	return all
}

// clusterMemory is how long after its last cut the cluster counts as one
// bottleneck.
const clusterMemory = 5 * time.Minute
