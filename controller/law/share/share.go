// Package share divides a budget among those who claim a part of it: floors first,
// then ranks from the highest down, max-min fair by weight inside one.
package share

import (
	"cmp"
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// Claim is one sender's part in the sharing of a budget.
type Claim struct {
	Floor, Ceiling bitrate.Rate
	Demand         bitrate.Rate // what it could use; the ceiling if it is held back
	Rank, Weight   int
}

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
	for _, wanted := range []func(Claim) bitrate.Rate{
		func(c Claim) bitrate.Rate { return min(max(c.Demand, c.Floor), c.Ceiling) },
		func(c Claim) bitrate.Rate { return c.Ceiling },
	} {
		for first := 0; first < len(byRank); {
			last := first
			for last < len(byRank) && claims[byRank[last]].Rank == claims[byRank[first]].Rank {
				last++
			}
			rest -= fill(rest, byRank[first:last], claims, got, wanted)
			first = last
		}
	}
	return got
}

// shrink makes the floors smaller in proportion where together they exceed the total:
// what is promised to all cannot be more than there is. None is below what can be
// written.
func shrink(total bitrate.Rate, claims []Claim) {
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

// lend takes what nobody needs to reckon with of an idle sender out of a claim.
func (c *Claim) lend(unused bitrate.Rate) {
	c.Floor, c.Ceiling = max(c.Floor-unused, 0), c.Ceiling-unused
	c.Demand = min(c.Demand, max(c.Floor, 0))
}

// fill raises the members of one rank to a common level by weight, each at
// least to what it has got and at most to what it wants, and returns what that
// took of rest. The level is found exactly by walking its breakpoints.
func fill(rest bitrate.Rate, members []int, claims []Claim, got []bitrate.Rate, wanted func(Claim) bitrate.Rate) bitrate.Rate {
	if rest <= 0 {
		return 0
	}
	type breakpoint struct {
		level float64
		slope float64 // change of the rate at which the sum rises with the level
	}
	points := make([]breakpoint, 0, 2*len(members))
	for _, i := range members {
		w := float64(claims[i].Weight)
		if want := wanted(claims[i]); want > got[i] {
			points = append(points, breakpoint{float64(got[i]) / w, w}, breakpoint{float64(want) / w, -w})
		}
	}
	slices.SortFunc(points, func(a, b breakpoint) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.slope, b.slope))
	})
	left, level, rising := float64(rest), 0.0, 0.0
	for _, p := range points {
		if need := rising * (p.level - level); need >= left {
			break
		} else {
			left -= need
		}
		level = p.level
		rising += p.slope
	}
	if rising > 0.5 {
		level += left / rising
	}
	var taken bitrate.Rate
	for _, i := range members {
		to := max(got[i], min(wanted(claims[i]), bitrate.Rate(level*float64(claims[i].Weight))))
		taken += to - got[i]
		got[i] = to
	}
	return taken
}

// ClaimOf says what a sender claims, given its recent peak of usage.
func ClaimOf(s *plan.Sender, peak bitrate.Rate) Claim {
	floor, ceiling := senders.Bounds(s)
	c := Claim{floor, ceiling, ceiling, s.Rank, max(s.Weight, 1)}
	if len(s.Rates) > 0 && !senders.Bound(s, peak) {
		c.Demand = peak + peak*15/100 + 5*bitrate.Mbit
	}
	return c
}
