package budget

import (
	"cmp"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// What sockets had waiting as limits were raised makes a queue that is there at once and
// leaves, or somebody is seen to send more than its limit: it is remembered, and nobody is cut for it that leaves soon. For one
// that does not a cut is made that says nothing of the link. One that goes on growing, and one
// before another limiter, is of too much, and so is one after limits were changed so that
// nothing waits.
func TestABurstOfSocketsSaysNothingOfTheLink(t *testing.T) {
	soars, stands := func(i int) time.Duration { return time.Duration(5*i+5) * ms }, func(int) time.Duration { return 10 * ms }
	late := func(i int) time.Duration { return max(time.Duration(26-i)*ms*time.Duration(min(max(i-12, 0), 1)), 0) }
	leaves, grows := func(i int) time.Duration { return time.Duration(21-i) * ms }, func(i int) time.Duration { return time.Duration(i+1) * ms }
	const limit, more = 50 * bitrate.Mbit, 60 * bitrate.Mbit
	for name, tt := range map[string]struct {
		sockets, paced bool
		ago            time.Duration // of the raise
		known          time.Duration // since a burst; 0: none was
		above          func(i int) time.Duration
		sent           bitrate.Rate
		before         bitrate.Rate // sent before the raise; 0: as the limit
		hold, burst    bool
		empty          bool         // it is cut for, and nothing else
		given          bitrate.Rate // out; 0: 96M, about what fits
	}{
		"a queue that leaves":                                      {sockets: true, ago: 450 * ms, above: leaves, sent: limit, hold: true, burst: true},
		"one that grows":                                           {sockets: true, ago: 450 * ms, above: grows, sent: limit},
		"one that grows, beside more than the limits":              {sockets: true, ago: 450 * ms, above: grows, sent: more, empty: true, burst: true},
		"one of less than fits":                                    {sockets: true, ago: 450 * ms, above: grows, sent: more, given: 60 * mbit, empty: true, burst: true},
		"one that grows, beside who lends and sent as much before": {sockets: true, ago: 450 * ms, above: grows, sent: more, before: more},
		"one that grows faster than the limits let it":             {sockets: true, ago: 450 * ms, above: soars, sent: limit, empty: true, burst: true},
		"one that stands as it is":                                 {sockets: true, ago: 450 * ms, above: stands, sent: limit},
		"one that began later than the raise took effect":          {sockets: true, ago: 450 * ms, above: late, sent: limit},
		"one long after the raise":                                 {sockets: true, ago: 700 * ms, above: leaves, sent: more},
		"one that leaves, before another's limiter":                {ago: 450 * ms, above: leaves, sent: more},
		"one that was seen a moment ago":                           {sockets: true, paced: true, ago: 450 * ms, known: 100 * ms, above: leaves, sent: limit, hold: true, burst: true},
		"one after a raise by way of little":                       {sockets: true, paced: true, ago: 450 * ms, known: time.Minute, above: leaves, sent: limit, burst: true},
	} {
		session := plan.Session{Base: plan.Base{Known: true}}
		for i := range 20 {
			session.Samples = append(session.Samples, plan.Sample{At: plan.At(t0.Add(time.Duration(i-20) * 20 * ms)), RTT: tt.above(i)})
		}
		b := fine()
		b.Total = cmp.Or(tt.given, 96*mbit)
		b.Search.Raised = t0.Add(-tt.ago)
		if tt.known > 0 {
			b.Link.Burst = t0.Add(-tt.known)
		}
		v := sense.Verdict{Standing: true, Allow: ms, Soft: ms / 2}
		v.Worst = sense.Reading{Recent: 5 * ms, Slope: float64(tt.above(19)-tt.above(9)) / float64(200*ms)}
		turn := Turn{
			Config: config, Sense: sense.DefaultConfig(), Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{Verdict: v}, Paths: []queue.Path{{Session: &session}},
			Load: senders.Load{Peak: b.Total, Limits: b.Total, Bound: true, More: true, Room: true, Sockets: tt.sockets, Paced: tt.paced},
			Senders: []*plan.Sender{{Limit: limit, Rates: []plan.TxRate{
				{At: plan.At(t0.Add(-tt.ago)), Tx: cmp.Or(tt.before, limit)}, {At: plan.At(t0), Tx: tt.sent},
			}}},
		}
		before := b.Total
		r := turn.Decide(&b)
		if (r.Action == plan.Hold) != tt.hold || b.Link.Bursts(t0) != tt.burst || b.Trouble.Waited != tt.empty {
			t.Errorf("%s: %s, remembered: %v, %+v", name, r.Action, b.Link.Bursts(t0), b.Trouble)
		}
		if tt.empty {
			if b.Total >= before {
				t.Errorf("%s: cut from %v to %v", name, before, b.Total)
			}
			turn.Now, turn.Opinion = t0.Add(time.Second), &blame.Opinion{}
			turn.Load.Limits, turn.Load.Peak = b.Total, b.Total
			if turn.Decide(&b); b.Total != before || b.Link.Capacity != 100*mbit {
				t.Errorf("%s: once it is gone %v of %v is given out, before it %v", name, b.Total, b.Link.Capacity, before)
			}
		}
		if b.Link.Bursts(t0.Add(burstMemory)) {
			t.Errorf("%s: never forgotten", name)
		}
	}
}

// A new leader that takes for what fits what another one found knows of no burst, and has not
// changed a limit itself: its first raise is one that what sockets have waiting makes no queue of.
func TestANewLeaderDoesNotKnowWhatSocketsHaveWaiting(t *testing.T) {
	b := Budget{Phase: plan.Open}
	b.Believe(config, senders.Load{Limits: 100 * bitrate.Mbit, Peak: 97 * bitrate.Mbit, Seen: t0}, plan.Told{Found: 100 * bitrate.Mbit})
	if l := &b.Link; !l.Known || !l.Eases(t0) || l.Paced(t0) || l.Bursts(t0) {
		t.Errorf("%+v: eases %v, is paced %v, bursts %v", *l, l.Eases(t0), l.Paced(t0), l.Bursts(t0))
	}
}
