// Package placement decides from where each critical pod is measured. It is
// pure: the same nodes and pods give the same answer on every replica.
package placement

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Target is something to measure.
type Target struct {
	Key    string   // stable name
	Node   string   // where it runs; "" outside the cluster
	Pinned []string // nodes to measure from; nil leaves the choice open
}

// Vantage is a node that can measure.
type Vantage struct{ Node, Zone string }

// Choose returns up to k nodes to measure t from, best first. The target's own
// node is taken only when there is no other: a probe that never leaves the node
// never meets the uplink's queue. Zones are spread first, then doubled.
//
// The choice is by rendezvous hashing (Thaler and Ravishankar 1998): a node
// that comes or goes moves only the sessions that it gains or loses. It costs
// one hash per node; vantages may be in any order.
func Choose(t Target, vantages []Vantage, k int) []string {
	if t.Pinned != nil {
		return pinned(t.Pinned, vantages)
	}
	ranked := rank(t, vantages)
	var chosen []string
	zones := map[string]bool{}
	for _, v := range ranked {
		if len(chosen) < k && !(v.Zone != "" && zones[v.Zone]) {
			chosen = append(chosen, v.Node)
			zones[v.Zone] = true
		}
	}
	for _, v := range ranked {
		if len(chosen) < k && !slices.Contains(chosen, v.Node) {
			chosen = append(chosen, v.Node)
		}
	}
	if len(chosen) == 0 && k > 0 && slices.ContainsFunc(vantages, func(v Vantage) bool { return v.Node == t.Node }) {
		chosen = append(chosen, t.Node)
	}
	return chosen
}

// pinned keeps the asked-for order and drops nodes that can't measure.
func pinned(nodes []string, vantages []Vantage) []string {
	var chosen []string
	for _, node := range nodes {
		able := slices.ContainsFunc(vantages, func(v Vantage) bool { return v.Node == node })
		if able && !slices.Contains(chosen, node) {
			chosen = append(chosen, node)
		}
	}
	return chosen
}

// rank orders the nodes other than the target's own by their hash with it.
func rank(t Target, vantages []Vantage) []Vantage {
	type scored struct {
		Vantage
		score uint64
	}
	all := make([]scored, 0, len(vantages))
	for _, v := range vantages {
		if v.Node != t.Node {
			all = append(all, scored{v, score(t.Key, v.Node)})
		}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.Node, b.Node))
	})
	ranked := make([]Vantage, len(all))
	for i, s := range all {
		ranked[i] = s.Vantage
	}
	return ranked
}

// score mixes FNV-1a, whose high bits hardly depend on the last bytes, with
// the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func score(key, node string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write([]byte(node))
	z := h.Sum64()
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
