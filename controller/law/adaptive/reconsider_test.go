package adaptive

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Who slows down tells of those behind the same uplink that they may, and of nobody else, also while the whole cluster
// is a bottleneck.
func TestWhoSlowsDownTellsOfThoseBehindTheSameUplink(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for node, presumed := range map[string]bool{"n1": false, "n2": true} {
		o := plan.Observation{At: now, Apps: []plan.App{{Pod: plan.PodID{Name: "robot"}, Node: "n1", Sessions: []plan.Session{{ID: "a", Vantage: "n2"}}}}}
		var s State
		for i, on := range []string{"n1", node} {
			pod := plan.PodID{Name: string(rune('a' + i))}
			o.Senders = append(o.Senders, plan.Sender{
				Pod: pod, Node: on, Limiter: plan.EDT, Limit: 160 * bitrate.Mbit, Rates: []plan.TxRate{{At: plan.At(now), Tx: 150 * bitrate.Mbit}},
			})
			offer := senders.Offer{Now: 150 * bitrate.Mbit, Since: now, Seen: now, Steady: i == 0, Presumed: i == 0, Heeds: i == 1}
			s.Uses = append(s.Uses, senders.Use{Pod: pod, Since: now, Now: 150 * bitrate.Mbit, Offer: offer})
		}
		s.Budgets = []budget.Budget{{Bottleneck: plan.Cluster, Link: budget.Link{Known: true, Cut: now}}}
		c := DefaultConfig()
		if s, _ = Step(c, s, sense.Judge(c.Sense, o)); s.Uses[0].Offer.Presumed != presumed {
			t.Errorf("one on %s slows down: it is presumed of one on n1 that it does not: %v", node, !presumed)
		}
	}
}
