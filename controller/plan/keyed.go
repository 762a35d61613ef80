package plan

import (
	"slices"
	"sort"
)

// Keyed is what is kept in the order of its keys: of pods, or of bottlenecks.
type Keyed[K any] interface{ Key() K }

// Place is where one that is kept lies: it is asked for its key there, since some are large.
type Place[T, K any] interface {
	*T
	Keyed[K]
}

type key[K any] interface{ Compare(K) int }

// Find is the place of a key in what is kept in the order of its keys, and whether it is there.
func Find[T any, K key[K], P Place[T, K]](all []T, k K) (at int, found bool) {
	return sort.Find(len(all), func(i int) int { return k.Compare(P(&all[i]).Key()) })
}

// FindNear is Find, which looks first where the key is likely to be.
func FindNear[T any, K key[K], P Place[T, K]](all []T, k K, likely int) (at int, found bool) {
	if likely < len(all) && k.Compare(P(&all[likely]).Key()) == 0 {
		return likely, true
	}
	return Find[T, K, P](all, k)
}

// InOrder reports whether all are in the order of their keys.
func InOrder[T any, K key[K], P Place[T, K]](all []T) bool {
	for i := 1; i < len(all); i++ {
		if P(&all[i-1]).Key().Compare(P(&all[i]).Key()) > 0 {
			return false
		}
	}
	return true
}

// Sort puts what is kept in the order of its keys in that order.
func Sort[T Keyed[K], K key[K]](all []T) {
	slices.SortFunc(all, func(a, b T) int { return a.Key().Compare(b.Key()) })
}

// Ordered is all in the order of their keys. It copies only what is out of order.
func Ordered[T any, K key[K], P Place[T, K]](all []T) []T {
	if InOrder[T, K, P](all) {
		return all
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b T) int { return P(&a).Key().Compare(P(&b).Key()) })
	return all
}

// Key is the pod.
func (a App) Key() PodID { return a.Pod }

// Key is the pod.
func (s Sender) Key() PodID { return s.Pod }

// Key is the pod.
func (l Limit) Key() PodID { return l.Pod }

// Key is the node's uplink.
func (t Told) Key() Bottleneck { return Uplink(t.Node) }
