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

// A second bottleneck with room takes nothing back of what the first one says.
func TestWhatIsApartBehindOneBottleneckStaysSo(t *testing.T) {
	for name, tt := range map[string]struct {
		going bool // at a's uplink, from before
		want  wish
	}{
		"another goes on": {true, wish{to: 9 * mbit, apart: true}},
		"it is the last":  {false, wish{to: 9 * mbit, tight: true, most: 5350 * bitrate.Kbit}},
	} {
		var look senders.Look
		look.At = t0
		for i, limit := range []bitrate.Rate{mbit, 5 * mbit} {
			s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: string(rune('a' + i))}, Node: "n1", Limit: limit, Limiter: plan.EDT, Rates: []plan.TxRate{{At: plan.At(t0), Tx: limit}}}
			use := senders.Use{Pod: s.Pod, Now: limit}
			use.Offer.Ahead = senders.Ahead{Limit: limit, Was: mbit}
			if tt.going && i == 1 {
				use.Offer.Ahead.Gone = t0.Add(time.Second)
			}
			look.All, look.Uses = append(look.All, s), append(look.Uses, use)
		}
		look.Flushes = []senders.Flush{{Pod: look.All[0].Pod, At: t0.Add(-time.Second), Was: 9 * mbit, Low: mbit, To: 9 * mbit, Shown: true, Over: true}}
		known, paced := budget.Link{Known: true}, senders.Load{Paced: true, Limits: 5 * mbit}
		r := round{
			config: config, look: &look, plan: &plan.Plan{Reasons: make([]plan.Reason, 2)},
			budgets: []budget.Budget{{Bottleneck: plan.Uplink("n1"), Total: 10 * mbit, Link: known}, {Bottleneck: plan.Cluster, Total: 100 * mbit, Link: known}},
		}
		wishes := []wish{{to: 9 * mbit}, {}}
		for at := range r.budgets {
			r.spread(&Part{At: at, Group: senders.Group{Members: []int32{0, 1}, Load: paced}}, wishes)
		}
		if wishes[0] != tt.want {
			t.Errorf("%s: %+v, want %+v", name, wishes[0], tt.want)
		}
	}
}

// Nor is a limit low for longer than may be for want of room.
func TestALimitIsLowForNoLongerThanMayBe(t *testing.T) {
	for after, want := range map[time.Duration]bitrate.Rate{time.Second: mbit, time.Minute: 8 * mbit} {
		s := plan.Sender{Limit: mbit}
		f := senders.Flush{At: t0.Add(-after), Was: 8 * mbit, Low: mbit, To: 9 * mbit, Over: true}
		r := round{look: &senders.Look{At: t0}}
		if got := r.beside(&s, &f, &wish{tight: true}, 9*mbit); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
}
