package share

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
)

const mbit = bitrate.Mbit

// What those have together that do not slow down goes to as many of them as get all they offer of
// it: nobody else has less, nobody less than the floor, and who has enough of a fair share keeps enough.
func TestWholeOffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		claims := make([]Claim, rapid.IntRange(1, 8).Draw(t, "n"))
		var floors bitrate.Rate
		for i := range claims {
			c := &claims[i]
			*c = Claim{Floor: rate(t, "floor", 1, 50), Ceiling: 1000 * mbit, Weight: rapid.IntRange(1, 4).Draw(t, "weight"), Rank: rapid.IntRange(0, 1).Draw(t, "rank")}
			if floors += c.Floor; rapid.Bool().Draw(t, "steady") {
				c.Steady(rate(t, "offer", 1, 500), rate(t, "limit", 1, 1000))
			} else {
				c.Demand = rate(t, "demand", 1, 1000)
			}
		}
		fair := make([]Claim, len(claims))
		for i, c := range claims {
			c.Offer = 0
			fair[i] = c
		}
		total := floors + rate(t, "total", 0, 2000)
		got, without := Of(total, claims), Of(total, fair)
		var sum, sumWithout bitrate.Rate
		whole, wholeWithout := 0, 0
		for i, c := range claims {
			sum, sumWithout = sum+got[i], sumWithout+without[i]
			enough := c.Enough
			switch {
			case got[i] < c.Floor:
				t.Fatalf("%d has %v, less than its floor: %+v", i, got[i], claims)
			case c.Offer == 0 && max(got[i]-without[i], without[i]-got[i]) > bitrate.Kbit:
				t.Fatalf("%d, who slows down, has %v instead of %v: %+v", i, got[i], without[i], claims)
			case c.Offer > 0 && without[i] >= enough && got[i] < enough:
				t.Fatalf("%d has %v of a fair share of %v: %+v", i, got[i], without[i], claims)
			}
			if c.Offer > 0 && got[i] >= enough {
				whole++
			}
			if c.Offer > 0 && without[i] >= enough {
				wholeWithout++
			}
		}
		if off := sum - sumWithout; off > bitrate.Kbit || off < -bitrate.Kbit || whole < wholeWithout {
			t.Fatalf("%v for %d whole offers instead of %v for %d: %+v", sum, whole, sumWithout, wholeWithout, claims)
		}
	})
}

func rate(t *rapid.T, what string, least, most int64) bitrate.Rate {
	return bitrate.Rate(rapid.Int64Range(least, most).Draw(t, what)) * mbit
}

// Of two that offer as much and do not fit together one has all of it, and keeps it.
func TestWhoHasItsWholeOfferKeepsIt(t *testing.T) {
	claims := []Claim{steadily(151, 10), steadily(150, 180)}
	for range 3 {
		got := Of(194*mbit, claims)
		if got[1] < 150*mbit || got[0] < 10*mbit || got[0]+got[1] > 194*mbit {
			t.Fatalf("got %v", got)
		}
	}
	claims[0] = steadily(80, 10) // within its fair share: that comes first
	if got := Of(194*mbit, claims); got[0] < 80*mbit {
		t.Errorf("who offers less than its fair share has %v", got)
	}
}

func steadily(offer, limit bitrate.Rate) Claim {
	c := Claim{Floor: 10 * mbit, Ceiling: 1000 * mbit, Weight: 1}
	c.Steady(offer*mbit, limit*mbit)
	return c
}

// Who has its whole offer and is not to keep it, as less fits through, is not in the way of those whose offers fit.
func TestAnOfferThatDoesNotFitLeavesRoomForThoseThatDo(t *testing.T) {
	got := Of(120*mbit, []Claim{steadily(150, 180), steadily(75, 10), steadily(90, 10)})
	if got[1] < senders.Enough(75*mbit) {
		t.Errorf("of 120M offers of 150M, 75M and 90M have %v: nobody has enough", got)
	}
}

// Who gets all that it offers goes on to, though a little more is seen of that than its share is enough for.
func TestALittleMoreOfAnOfferTakesItFromNobody(t *testing.T) {
	got := Of(163*mbit, []Claim{steadily(150, 153), steadily(150, 10)})
	if got[0] < 153*mbit {
		t.Errorf("it had 153M, offers 150M and has %v now", got[0])
	}
	if got = Of(163*mbit, []Claim{steadily(150, 140), steadily(150, 10)}); got[0] > 100*mbit {
		t.Errorf("of an offer that does not fit it has %v", got[0])
	}
}
