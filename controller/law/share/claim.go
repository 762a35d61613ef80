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
	Offer          bitrate.Rate // all of it or next to nothing is what it gets; 0: what it is given
	Enough         bitrate.Rate // by which it gets all of that
	Whole          bool         // it gets it now
}

// ClaimOf says what a sender claims, given its recent peak of usage.
func ClaimOf(s *plan.Sender, peak bitrate.Rate) Claim {
	floor, ceiling := senders.Bounds(s)
	c := Claim{Floor: floor, Ceiling: ceiling, Demand: ceiling, Rank: s.Rank, Weight: max(s.Weight, 1)}
	if len(s.Rates) > 0 && !senders.Bound(s, peak) {
		c.Demand = spare(peak)
	}
	return c
}

// spare is what a sender could use that sends so much.
func spare(peak bitrate.Rate) bitrate.Rate { return peak + peak*15/100 + 5*bitrate.Mbit }

// Steady has a claim be that of a sender that offers so much whatever comes of it, and before
// Cilium's limiter gets next to nothing of a limit below that. Its limit is what it has or was promised.
func (c *Claim) Steady(offer, limit bitrate.Rate) {
	c.Offer, c.Enough, c.Whole = offer, senders.Enough(offer), limit >= offer
	if c.Whole { // it keeps that, though a little more is seen of what it offers
		c.Enough = min(c.Enough, limit)
	}
	c.Demand = min(spare(offer), c.Ceiling)
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
