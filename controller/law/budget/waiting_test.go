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

// spilled is a search on a link of 200M whose newest raise, so long ago, had sockets let out what they had waiting, and the
// turn of now. A packet was sent each 10 ms and was as late as the queue was; one of so many was lost.
func spilled(ago time.Duration, total bitrate.Rate, lost int, delay func(at time.Duration) time.Duration) (Budget, Turn) {
	session := &plan.Session{Base: plan.Base{Known: true}}
	for at := -ago - 100*ms; at <= 0; at += 10 * ms {
		s := plan.Sample{At: plan.At(t0.Add(at)), RTT: max(delay(at), 0)}
		if n := len(session.Samples); lost > 0 && n%lost == 0 {
			s = plan.Sample{At: s.At, Lost: true}
		}
		session.Samples = append(session.Samples, s)
	}
	sender := &plan.Sender{Limit: total}
	for at := -2 * ago; at <= 0; at += 100 * ms {
		tx := total
		if at < 100*ms-ago { // before the raise was in force
			tx = 170 * mbit
		}
		sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(t0.Add(at)), Tx: tx})
	}
	b := Budget{
		Phase: plan.Trying, Total: total, Link: Link{Known: true, Capacity: 155 * mbit, Proven: 170 * mbit, Upper: 300 * mbit, Burst: t0.Add(200*ms - ago)},
		Search: Search{Even: true, Raised: t0.Add(-ago), At: t0.Add(-ago)},
	}
	return b, Turn{
		Config: config, Sense: sense.DefaultConfig(), Now: t0, Feedback: 200 * ms, Opinion: &blame.Opinion{}, Paths: []queue.Path{{Session: session}},
		Load:    senders.Load{Peak: total, Limits: total, Bound: true, More: true, Room: true, Sockets: true, SeenFrom: t0.Add(-100 * ms), Seen: t0},
		Senders: []*plan.Sender{sender},
	}
}

// drains is a queue that is 20 ms long 650 ms ago, and leaves at 6 % of the link.
func drains(at time.Duration) time.Duration {
	if at < -650*ms {
		return 0
	}
	return 20*ms - (at+650*ms)*6/100
}

// A queue of what sockets had waiting leaves at the pace that the link leaves free: that is what was searched for.
// Where there was none, or what fits was measured, more is tried for as ever.
func TestTheSearchEndsAtWhatAQueueOfSocketsTellsAsItLeaves(t *testing.T) {
	for name, tt := range map[string]struct {
		but   func(b *Budget, t *Turn)
		found bool
	}{
		"it left":                    {func(*Budget, *Turn) {}, true},
		"no burst":                   {func(b *Budget, _ *Turn) { b.Link.Burst = time.Time{} }, false},
		"one of the raise before":    {func(b *Budget, _ *Turn) { b.Link.Burst = b.Search.Raised.Add(-time.Second) }, false},
		"another limiter":            {func(_ *Budget, t *Turn) { t.Load.Sockets = false }, false},
		"a link that loses":          {func(b *Budget, _ *Turn) { b.Link.Loses = true }, false},
		"it was too much once":       {func(b *Budget, _ *Turn) { b.Link.Upper = 195 * mbit }, false},
		"what fits is known already": {func(b *Budget, _ *Turn) { b.Search.Even = false }, false},
	} {
		b, turn := spilled(800*ms, 188*mbit, 0, drains)
		tt.but(&b, &turn)
		turn.grow(&b)
		if found := b.Phase == plan.Settled && b.Link.Measured && !b.Search.Even; found != tt.found {
			t.Errorf("%s: %s, %+v", name, b.Phase, b.Link)
		}
		if tt.found && (!near(b.Link.Capacity, 200*mbit, 0.01) || !near(b.Total, 194*mbit, 0.01)) {
			t.Errorf("%s: %v of %v is given out; want 194M of 200M", name, b.Total, b.Link.Capacity)
		}
	}
}

// One that does not leave is of about what fits, or of too much by what it grows or by what is lost: that is cut for as soon as it was
// looked at for long enough, and most of it is given out again. One that leaves is waited for.
func TestAQueueOfSocketsThatStandsTellsWhatFits(t *testing.T) {
	full := func(time.Duration) time.Duration { return 3 * ms }
	grows := func(at time.Duration) time.Duration { return 60*ms + at*5/100 }
	for name, tt := range map[string]struct {
		total bitrate.Rate
		lost  int // one of so many; 0: none
		delay func(at time.Duration) time.Duration
		slope float64 // of the newest
		ago   time.Duration
		want  bitrate.Rate // that fits; 0: it is waited for
	}{
		"stands":                     {196 * mbit, 0, full, 0, 700 * ms, 196 * mbit},
		"grows":                      {210 * mbit, 0, grows, 0.05, 700 * ms, 200 * mbit},
		"overflows":                  {222 * mbit, 10, full, 0, 700 * ms, 200 * mbit},
		"on its way out":             {196 * mbit, 0, full, -0.02, 700 * ms, 0},
		"it is too young to be told": {196 * mbit, 0, full, 0, 400 * ms, 0},
	} {
		b, turn := spilled(tt.ago, tt.total, tt.lost, tt.delay)
		turn.Senders[0].Limit /= 2 // it is seen to send more than that
		turn.Feedback = 300 * ms   // a burst is waited for until half a second after that
		v := turn.Opinion
		v.Allow, v.Soft, v.Standing = ms, ms/2, true
		v.Worst.Recent, v.Worst.Slope, v.Worst.Session = 3*ms, tt.slope, turn.Paths[0].Session
		r := turn.Decide(&b)
		if (r.Action == plan.Cut) != (tt.want != 0) {
			t.Errorf("%s: %s", name, r.Action)
		}
		if tt.want != 0 && (!near(b.Link.Capacity, tt.want, 0.02) || !b.Link.Measured || b.Search.Even) {
			t.Errorf("%s: %v fits, want %v; %+v", name, b.Link.Capacity, tt.want, b.Search)
		}
	}
}

// What senders have sent since such a queue began is waited for: it tells whether they sent more than their limits.
func TestAQueueAfterARaiseIsJudgedOnceItIsKnownWhatWasSent(t *testing.T) {
	for name, tt := range map[string]struct {
		seenFrom time.Duration
		sockets  bool
		want     plan.Action
	}{
		"nothing is known of it": {-150 * ms, true, plan.Hold},
		"no more was sent":       {-50 * ms, true, plan.Cut},
		"another limiter":        {-150 * ms, false, plan.Cut},
	} {
		b, turn := spilled(200*ms, 196*mbit, 0, func(at time.Duration) time.Duration { return max(at+110*ms, 0) / 25 })
		b.Link.Burst = time.Time{}
		turn.Load.Sockets, turn.Load.SeenFrom = tt.sockets, t0.Add(tt.seenFrom)
		v := turn.Opinion
		v.Allow, v.Soft, v.Standing = ms, ms/2, true
		v.Worst.Recent, v.Worst.Session = 3*ms, turn.Paths[0].Session
		if r := turn.Decide(&b); r.Action != tt.want {
			t.Errorf("%s: %s, want %s", name, r.Action, tt.want)
		}
	}
}
