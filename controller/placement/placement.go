// Package placement decides from where each critical pod is measured. It is
// pure: the same nodes and pods give the same answer on every replica.
package placement

import "slices"

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
// one hash and k comparisons per node; vantages may be in any order.
func Choose(t Target, vantages []Vantage, k int) []string {
	if t.Pinned != nil {
		return pinned(t.Pinned, vantages)
	}
	scores := make([]uint64, len(vantages))
	key := hash(offset, t.Key)
	for i, v := range vantages {
		scores[i] = mix(hash(key, v.Node))
	}
	var chosen []string
	zones := map[string]bool{}
	pick := func(eligible func(Vantage) bool) bool {
		best := -1
		for i, v := range vantages {
			if !eligible(v) || slices.Contains(chosen, v.Node) {
				continue
			}
			if best < 0 || scores[i] > scores[best] || (scores[i] == scores[best] && v.Node < vantages[best].Node) {
				best = i
			}
		}
		if best < 0 {
			return false
		}
		chosen = append(chosen, vantages[best].Node)
		zones[vantages[best].Zone] = true
		return true
	}
	elsewhere := func(v Vantage) bool { return v.Node != t.Node }
	fresh := func(v Vantage) bool { return elsewhere(v) && (v.Zone == "" || !zones[v.Zone]) }
	anywhere := func(Vantage) bool { return len(chosen) == 0 }
	for len(chosen) < k && (pick(fresh) || pick(elsewhere) || pick(anywhere)) {
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

// FNV-1a, 64 bit (Fowler, Noll and Vo), in a form that goes on from a common prefix.
const (
	offset uint64 = 14695981039346656037
	prime  uint64 = 1099511628211
)

func hash(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return h * prime // ends the text: "a","bc" is not "ab","c"
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014): the high bits
// of FNV-1a hardly depend on the last bytes.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
