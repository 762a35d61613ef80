package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// A full socket goes on at its low limit beside the one after that: its pod sends a little more at first than later on. TCP, which
// slows down for the low one, does not, nor is it told by who sends far more, or less than it may, or after a raise made at once.
func TestFullSocketsAreSeenToGoOnAfterALowLimit(t *testing.T) {
	const limit = 50 * bitrate.Mbit
	for name, tt := range map[string]struct {
		first, later bitrate.Rate
		change       func(*Turn, *Budget)
		want         bool
	}{
		"a full socket":                   {limit + mbit, limit, func(*Turn, *Budget) {}, true},
		"one before a limiter of agents'": {limit + mbit, limit, func(turn *Turn, _ *Budget) { turn.Load.Sockets = false }, false},
		"nothing goes on":                 {limit, limit, func(*Turn, *Budget) {}, false},
		"it comes back slowly":            {limit - mbit, limit, func(*Turn, *Budget) {}, false},
		"it sends as it likes":            {limit + 10*mbit, limit, func(*Turn, *Budget) {}, false},
		"it sends less than it may":       {limit - 9*mbit, limit - 10*mbit, func(*Turn, *Budget) {}, false},
		"the raise was made at once":      {limit + mbit, limit, func(_ *Turn, b *Budget) { b.Link.Eased = b.Search.Raised.Add(-time.Minute) }, false},
		"a try is out":                    {limit + mbit, limit, func(_ *Turn, b *Budget) { b.Phase = plan.Trying }, false},
		"limits are low again":            {limit + mbit, limit, func(turn *Turn, _ *Budget) { turn.Held = true }, false},
	} {
		b := Budget{Phase: plan.Settled, Total: 100 * mbit, Link: Link{Known: true, Measured: true, Capacity: 103 * mbit}}
		b.Search.Raised, b.Search.At = t0, t0.Add(time.Hour)
		b.Link.Eased = t0
		pods := []*plan.Sender{{Limit: limit}, {Limit: limit}}
		turn := Turn{Config: config, Sense: sense.DefaultConfig(), Feedback: 200 * ms, Opinion: &blame.Opinion{}, Senders: pods}
		turn.Load = senders.Load{Peak: 100 * mbit, Limits: 100 * mbit, Bound: true, More: true, Room: true, Sockets: true}
		tt.change(&turn, &b)
		for after := 100 * ms; after <= 3*time.Second; after += 100 * ms {
			turn.Now = t0.Add(after)
			turn.Load.Seen, turn.Load.SeenFrom = turn.Now, turn.Now.Add(-100*ms)
			for _, s := range pods {
				r := plan.TxRate{At: plan.At(turn.Now), Tx: tt.first}
				if after > 1500*ms {
					r.Tx = tt.later
				}
				s.Rates = append(s.Rates, r)
			}
			if turn.goesOn(&b); b.Link.Full(turn.Now) && after < time.Second {
				t.Errorf("%s: full after %v, when it may come back from the raise", name, after)
			}
		}
		if b.Link.Full(turn.Now) != tt.want {
			t.Errorf("%s: full is %v", name, !tt.want)
		}
		if b.Link.Full(turn.Now.Add(burstMemory)) {
			t.Errorf("%s: never forgotten", name)
		}
		if b.Link.Measured = false; b.Link.Full(turn.Now) {
			t.Errorf("%s: changes are made so while what fits is searched for", name)
		}
	}
}

// What goes on from low limits is left free, but for what is left free anyhow.
func TestWhatGoesOnIsLeftFree(t *testing.T) {
	for goes, want := range map[bitrate.Rate]bitrate.Rate{0: 97 * mbit, mbit: 97 * mbit, 2 * mbit: 97 * mbit, 4 * mbit: 95500 * bitrate.Kbit} {
		turn, b := Turn{Config: config, Load: senders.Load{Goes: goes}}, Budget{Link: Link{Known: true, Capacity: 100 * mbit}}
		if got := turn.gives(&b); !near(got, want, 0.001) {
			t.Errorf("beside %v %v are given out, want %v", goes, got, want)
		}
	}
}

// Who gave out a little less than once fitted through, for what went on, has not lost it: where there is room it tries for more
// in steps as large as any other. Clearly less is not left for more than that in one leap.
func TestWhatWasLeftFreeIsNotWhatIsTriedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		total   bitrate.Rate
		sockets bool
		most    bool
	}{
		"a little less":                  {94 * mbit, true, false},
		"clearly less":                   {88 * mbit, true, true},
		"a little less, before agents'":  {94 * mbit, false, true},
		"all of it, before agents' also": {97 * mbit, false, false},
	} {
		b := Budget{Total: tt.total, Link: Link{Known: true, Measured: true, Capacity: 100 * mbit, Best: 100 * mbit}}
		turn := Turn{Config: config, Now: t0, Load: senders.Load{Sockets: tt.sockets}}
		if turn.raise(&b, 0.15); (b.Total == 97*mbit) != tt.most {
			t.Errorf("%s: raised from %v to %v", name, tt.total, b.Total)
		}
	}
}

// What the way up and the way down say that others use of a link is believed of a little as well where what leaves the node
// says about the same.
func TestALittleOfOthersIsBelievedWhereItLeavesTheNode(t *testing.T) {
	for name, tt := range map[string]struct {
		sockets  bool
		told     bitrate.Rate
		believed bool
	}{
		"both say so":                    {true, 22 * mbit, true},
		"what leaves says nothing":       {true, 0, false},
		"it says far more":               {true, 50 * mbit, false},
		"about the same, legacy routing": {false, 40 * mbit, false},
		"about the same":                 {true, 40 * mbit, true},
	} {
		// 220M and 20M of others' come to a link of 200M, then 100M and 20M.
		b := Budget{Phase: plan.Draining, Total: 100 * mbit, Link: Link{Upper: 220 * mbit}}
		b.Trouble.Rise = queue.Way{Slope: 0.2, Inflow: 220 * mbit, Others: tt.told}
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Sockets: tt.sockets}}
		turn.gauge(&b, episode{down: queue.Way{Slope: -0.4, Inflow: 100 * mbit}, full: 187 * mbit, long: true, fell: true})
		if near(b.Link.Capacity, 180*mbit, 0.005) != tt.believed {
			t.Errorf("%s: %v fit; 180M do", name, b.Link.Capacity)
		}
	}
}
