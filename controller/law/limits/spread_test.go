package limits

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// What waits behind a low limit goes on beside the next one. Of small limits that is more than is left free, as no less than
// 1 Mbit/s can be written: so they are raised one after the other, and the last to what there is room for.
func TestSmallLimitsAreRaisedOneAfterTheOther(t *testing.T) {
	for name, tt := range map[string]struct {
		limits [2]bitrate.Rate // in force
		share  bitrate.Rate    // of each
		gone   time.Duration   // until what the first had waiting is
		want   [2]bitrate.Rate
	}{
		"both at once": {[2]bitrate.Rate{3 * mbit, 3 * mbit}, 96 * mbit, 0, [2]bitrate.Rate{96 * mbit, 96 * mbit}},
		"the first":    {[2]bitrate.Rate{mbit, mbit}, 9600 * bitrate.Kbit, 0, [2]bitrate.Rate{9600 * bitrate.Kbit, mbit}},
		"the second while that of the first goes on": {[2]bitrate.Rate{9600 * bitrate.Kbit, mbit}, 9600 * bitrate.Kbit, time.Second, [2]bitrate.Rate{9600 * bitrate.Kbit, mbit}},
		"the second after that":                      {[2]bitrate.Rate{9600 * bitrate.Kbit, mbit}, 9600 * bitrate.Kbit, 0, [2]bitrate.Rate{9600 * bitrate.Kbit, 9200 * bitrate.Kbit}},
	} {
		look := senders.Look{At: t0}
		part := Part{Group: senders.Group{Members: []int32{0, 1}, Load: senders.Load{Paced: true}}}
		for i, limit := range tt.limits {
			s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: string(rune('a' + i))}, Node: "n1", Weight: 1, Min: mbit, Max: 1000 * mbit, Limit: limit, Limiter: plan.EDT}
			s.Rates = []plan.TxRate{{At: plan.At(t0), Tx: limit}}
			look.All = append(look.All, s)
			use := senders.Use{Pod: s.Pod, Now: limit}
			use.Offer.Ahead = senders.Ahead{Limit: limit, Was: mbit, Gone: t0.Add(tt.gone)}
			look.Uses = append(look.Uses, use)
			part.Load.Limits += limit
			part.To = append(part.To, tt.share)
			if limit < tt.share {
				look.Flushes = append(look.Flushes, senders.Flush{Pod: s.Pod, At: t0.Add(-time.Second), Was: tt.share, Low: limit, To: tt.share, Shown: true, Over: true})
			}
		}
		part.Senders = []*plan.Sender{&look.All[0], &look.All[1]}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n1"), Action: plan.Hold, Cause: plan.Calm}}}
		b := budget.Budget{Bottleneck: plan.Uplink("n1"), Total: 2 * tt.share, Link: budget.Link{Known: true}}
		Plan(config, &look, nil, []budget.Budget{b}, []Part{part}, &p)
		got := tt.limits
		for _, l := range p.Limits {
			got[l.Pod.Name[0]-'a'] = l.To
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
