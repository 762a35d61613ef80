package share

import (
	"cmp"
	"slices"

	"github.com/detnet/detnet/bitrate"
)

// whole gives what those of one rank have got together whose offer a lower limit is of no use to
// to as many of them as have enough by it: first to who has enough of a fair share, then to who
// has it now, then to who offers least. The others keep the floor, and what is left.
func whole(members []int, claims []Claim, got []bitrate.Rate) {
	var steady []int
	var rest bitrate.Rate // beside the floors
	helps := false
	for _, i := range members {
		if c := &claims[i]; c.Offer > 0 && c.Ceiling >= c.Enough {
			steady = append(steady, i)
			rest += got[i] - c.Floor
			helps = helps || got[i] < c.Enough
		}
	}
	if !helps {
		return
	}
	first := func(i int) int {
		switch c := &claims[i]; {
		case got[i] >= c.Enough:
			return 0
		case c.Whole:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(steady, func(a, b int) int {
		return cmp.Or(cmp.Compare(first(a), first(b)), cmp.Compare(claims[a].Offer, claims[b].Offer))
	})
	var served, others []int
	for _, i := range steady {
		c := &claims[i]
		if need := max(c.Enough-c.Floor, 0); need <= rest {
			rest -= need
			got[i] = c.Floor + need
			served = append(served, i)
		} else {
			got[i] = c.Floor
			others = append(others, i)
		}
	}
	for _, part := range [][]int{served, others} {
		rest -= fill(rest, part, claims, got, func(c Claim) bitrate.Rate { return max(c.Demand, c.Floor) })
	}
}
