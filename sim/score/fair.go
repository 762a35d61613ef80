package score

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// jain is the fairness index (Jain, Chiu, Hawe 1984) of what the senders got,
// each relative to its max-min fair share by weight of what those of its group
// got together. Shares are taken point by point, so that who asks for less, or
// for nothing now and then, is not taken for wronged.
func (r Run) jain(from, to time.Duration) float64 {
	members := map[string][]int{}
	for i, s := range r.Senders {
		if !s.Uncontrolled {
			members[s.Group] = append(members[s.Group], i)
		}
	}
	got, fair := make([]float64, len(r.Senders)), make([]float64, len(r.Senders))
	for _, p := range r.Points {
		if p.At <= from || p.At > to {
			continue
		}
		for _, m := range members {
			r.addShares(p, m, got, fair)
		}
	}
	var sum, squares, count float64
	for i := range got {
		if fair[i] > 0 {
			x := got[i] / fair[i]
			sum, squares, count = sum+x, squares+x*x, count+1
		}
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (count * squares)
}

// addShares adds what each member got at one point, and its fair share of the
// whole: water-filled by weight from the smallest demand upwards.
func (r Run) addShares(p Point, members []int, got, fair []float64) {
	demand := func(i int) float64 {
		if r.Senders[i].Greedy && p.Offered[i] > 0 {
			return math.Inf(1)
		}
		return (p.Offered[i] + p.Waiting[i]).Mbit() // what waited is wanted, too
	}
	weight := func(i int) float64 { return float64(max(r.Senders[i].Weight, 1)) }
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(demand(a)/weight(a), demand(b)/weight(b)) })
	var total, weights float64
	for _, i := range order {
		got[i] += p.Goodput[i].Mbit()
		total += p.Goodput[i].Mbit()
		weights += weight(i)
	}
	for _, i := range order {
		share := min(total*weight(i)/weights, demand(i))
		fair[i] += share
		total, weights = total-share, weights-weight(i)
	}
}
