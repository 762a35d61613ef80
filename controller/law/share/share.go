// Package share divides a budget among those who claim a part of it: floors first,
// then ranks from the highest down, max-min fair by weight inside one.
package share

import (
	"cmp"
	"slices"

	"github.com/detnet/detnet/bitrate"
)

// Of divides total among the claims. Everyone gets the floor first. Then
// the ranks are served from the highest down, so that the lowest is cut first;
// within a rank the division is max-min fair by weight (water-filling). What
// nobody can use now is headroom, given out by the same rule up to the
// ceilings. Floors hold even where their sum exceeds the total.
func Of(total bitrate.Rate, claims []Claim) []bitrate.Rate {
	got := make([]bitrate.Rate, len(claims))
	rest := total
	for i, c := range claims {
		got[i] = c.Floor
		rest -= c.Floor
	}
	byRank := make([]int, len(claims))
	for i := range byRank {
		byRank[i] = i
	}
	slices.SortStableFunc(byRank, func(a, b int) int { return cmp.Compare(claims[b].Rank, claims[a].Rank) })
	for turn, wanted := range []func(Claim) bitrate.Rate{
		func(c Claim) bitrate.Rate { return min(max(c.Demand, c.Floor), c.Ceiling) },
		func(c Claim) bitrate.Rate { return c.Ceiling },
	} {
		for first := 0; first < len(byRank); {
			last := first
			for last < len(byRank) && claims[byRank[last]].Rank == claims[byRank[first]].Rank {
				last++
			}
			if rest -= fill(rest, byRank[first:last], claims, got, wanted); turn == 0 {
				whole(byRank[first:last], claims, got)
			}
			first = last
		}
	}
	return got
}

// Shrink makes the floors smaller in proportion where together they exceed the total:
// what is promised to all cannot be more than there is. None is below what can be
// written.
func Shrink(total bitrate.Rate, claims []Claim) {
	for {
		var floors, least bitrate.Rate // of those that can be made smaller, and of the others
		for _, c := range claims {
			if c.Floor > bitrate.Min {
				floors += c.Floor
			} else {
				least += c.Floor
			}
		}
		if floors+least <= total || floors == 0 {
			return
		}
		by, again := max(float64(total-least)/float64(floors), 0), false
		for i := range claims {
			if c := &claims[i]; c.Floor > bitrate.Min {
				c.Floor = max(bitrate.Rate(float64(c.Floor)*by), bitrate.Min)
				again = again || c.Floor == bitrate.Min
			}
		}
		if !again {
			return
		}
	}
}
