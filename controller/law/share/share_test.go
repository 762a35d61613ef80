package share

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
)

func TestShareIsMaxMinFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := make([]Claim, rapid.IntRange(1, 8).Draw(t, "n"))
		var floors, ceilings bitrate.Rate
		for i := range claims {
			floor := bitrate.Rate(rapid.Int64Range(1, 50).Draw(t, "floor")) * bitrate.Mbit
			c := Claim{Floor: floor, Ceiling: floor + bitrate.Rate(rapid.Int64Range(0, 500).Draw(t, "span"))*bitrate.Mbit, Weight: rapid.IntRange(1, 10).Draw(t, "weight")}
			c.Demand = bitrate.Rate(rapid.Int64Range(0, int64(c.Ceiling)).Draw(t, "demand"))
			claims[i] = c
			floors, ceilings = floors+c.Floor, ceilings+c.Ceiling
		}
		total := bitrate.Rate(rapid.Int64Range(0, int64(2*ceilings)).Draw(t, "total"))
		got := Of(total, claims)
		var sum bitrate.Rate
		for i, c := range claims {
			if got[i] < c.Floor || got[i] > c.Ceiling {
				t.Fatalf("share %v outside [%v, %v]", got[i], c.Floor, c.Ceiling)
			}
			sum += got[i]
		}
		want := min(max(total, floors), ceilings)
		if off := want - sum; off < 0 || off > 2*bitrate.Rate(len(claims)) {
			t.Fatalf("sums to %v of %v", sum, want)
		}
		// Nobody has less by weight than another who could give, unless it is
		// held by its demand or ceiling or the other by its floor.
		for i, a := range claims {
			wanted := min(max(a.Demand, a.Floor), a.Ceiling)
			for k, b := range claims {
				if got[i] < wanted && got[k] > max(b.Floor, 0)+10 && float64(got[k])/float64(b.Weight) > float64(got[i])/float64(a.Weight)+10 {
					t.Fatalf("%d has %v by weight, %d has %v: %+v %v", i, float64(got[i])/float64(a.Weight), k, float64(got[k])/float64(b.Weight), claims, got)
				}
			}
		}
	})
}

func TestTheLowestRankIsCutFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := bitrate.Rate(rapid.Int64Range(20, 400).Draw(t, "total")) * bitrate.Mbit
		claims := []Claim{
			{Floor: bitrate.Mbit, Ceiling: bitrate.Gbit, Demand: 100 * bitrate.Mbit, Rank: 10, Weight: 1},
			{Floor: bitrate.Mbit, Ceiling: bitrate.Gbit, Demand: bitrate.Gbit, Rank: 5, Weight: 100},
		}
		got := Of(total, claims)
		if got[0] < 100*bitrate.Mbit && got[1] > bitrate.Mbit {
			t.Fatalf("of %v the higher rank got %v and the lower %v", total, got[0], got[1])
		}
	})
}

// Shrunk floors come to the total, in proportion but for those that cannot be smaller.
func TestShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := make([]Claim, rapid.IntRange(1, 8).Draw(t, "n"))
		was := make([]bitrate.Rate, len(claims))
		for i := range claims {
			was[i] = bitrate.Rate(rapid.Int64Range(0, 100_000_000).Draw(t, "floor"))
			claims[i].Floor = was[i]
		}
		total := bitrate.Rate(rapid.Int64Range(0, 500_000_000).Draw(t, "total"))
		Shrink(total, claims)
		var floors, now, least bitrate.Rate
		for i, c := range claims {
			floors, now, least = floors+was[i], now+c.Floor, least+min(was[i], bitrate.Min)
			if c.Floor > was[i] || c.Floor < min(was[i], bitrate.Min) {
				t.Fatalf("%v became %v", was[i], c.Floor)
			}
		}
		if want := min(floors, max(total, least)); now > want || now < want-bitrate.Rate(len(claims)) {
			t.Fatalf("of %v, floors of %v became %v", total, floors, now)
		}
	})
}
