package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// losing is a turn on whose one path every n-th probe of the last half second is lost;
// no queue stands.
func losing(n int, used bitrate.Rate) *Turn {
	s := &plan.Session{}
	for i := range 50 {
		at := t0.Add(-time.Duration(50-i) * 20 * ms)
		s.Samples = append(s.Samples, plan.Sample{At: plan.At(at), RTT: ms, Lost: i >= 25 && (i-25)%n == 0})
	}
	turn := &Turn{Config: config, Now: t0, Feedback: 300 * ms, Load: senders.Load{Peak: used, Limits: 2 * used, Room: true}, Opinion: &blame.Opinion{}}
	turn.Opinion.Verdict = sense.Verdict{
		Allow: ms, Soft: ms / 2, Lossy: true,
		Worst: sense.Reading{Session: s, LostCount: 25 / n, Lost: 0.5 / float64(n), Base: plan.Base{Known: true}},
	}
	return turn
}

// Of what is used so much fits through as is not lost, from the first loss on.
func TestLossTellsWhatFitsThrough(t *testing.T) {
	for _, tt := range []struct {
		n           int
		least, most bitrate.Rate
	}{{2, 135 * mbit, 150 * mbit}, {3, 180 * mbit, 200 * mbit}, {5, 225 * mbit, 240 * mbit}} {
		turn := losing(tt.n, 300*mbit)
		b := Budget{Total: 2000 * mbit}
		turn.cut(&b)
		if b.Total < tt.least || b.Total > tt.most || !b.Link.Loses || !b.Search.Even {
			t.Errorf("each %d. is lost of what is sent at 300M: %v is left, want %v to %v: %+v", tt.n, b.Total, tt.least, tt.most, b.Link)
		}
	}
}

// A queue that is held below what is allowed while packets are lost, and that a cut did not move, tells
// nothing of the link: what is lost does. One that is longer does by itself.
func TestLossTellsBesideAShortQueue(t *testing.T) {
	for _, tt := range []struct {
		tail  time.Duration
		phase plan.Phase
		want  bool
	}{{ms * 9 / 10, plan.Draining, true}, {ms * 9 / 10, plan.Settled, false}, {2 * ms, plan.Draining, false}} {
		turn, b := losing(3, 300*mbit), Budget{Total: 2000 * mbit, Phase: tt.phase}
		turn.Opinion.Standing, turn.Opinion.Worst.Tail = true, tt.tail
		if turn.loses(&b) != tt.want {
			t.Errorf("each 3. is lost beside a queue of %v of 1ms, %s: that loss tells is %v, want %v", tt.tail, tt.phase, !tt.want, tt.want)
		}
	}
}

// A cut for loss is judged by the loss, and not before there could be any.
func TestACutForLossIsJudgedByLoss(t *testing.T) {
	b := Budget{Total: 2000 * mbit}
	turn := losing(2, 300*mbit)
	turn.relieve(&b)
	if b.Trouble.Found.Loss < 0.4 || b.Trouble.Found.Loss > 0.6 {
		t.Fatalf("loss of %v was noted, want a half", b.Trouble.Found.Loss)
	}
	b.Link.EffectBy = t0.Add(-300 * ms)
	if !turn.unknown(&b) {
		t.Error("0.3 s after the effect it was taken for known what is lost")
	}
	b.Link.EffectBy = t0.Add(-time.Second)
	if turn.unknown(&b) {
		t.Error("a second after the effect it was not known what is lost")
	}
	if b.Link.EffectBy = t0.Add(-10 * ms); turn.loss(&b) != 0 {
		t.Error("what was lost before the effect of the cut is held against it")
	}
	b.Link.EffectBy = t0.Add(-time.Second)
	b.Phase, b.Trouble.Depth = plan.Draining, 0.5
	if turn.count(&b); b.Trouble.Fruitless != 1 {
		t.Error("as much is lost as before, and the cut counts as good for something")
	}
	less := losing(5, 150*mbit)
	if less.count(&b); b.Trouble.Fruitless != 1 {
		t.Error("less is lost, and the cut counts as fruitless")
	}
}

// What limiters let out when limits are given back is no queue of the link's.
func TestWhatWasPentUpIsWaitedFor(t *testing.T) {
	turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
	turn.Opinion.Verdict = sense.Verdict{Allow: ms, Soft: ms / 2, Standing: true}
	b := Budget{Total: 200 * mbit, Phase: plan.Released, Search: Search{Released: t0.Add(-time.Second)}}
	if r := turn.act(&b); r.Action != plan.Hold || r.Cause != plan.AwaitEffect {
		t.Errorf("a second after the limits were given back: %+v", r)
	}
	if b.Search.Released = t0.Add(-settleTime); turn.pentUp(&b) {
		t.Error("it is waited for ever")
	}
}

// What went through before a try that lost packets fits, and where a low limit had left more waiting beside it, all of it does.
func TestAllThatWentThroughBesideALowLimitFits(t *testing.T) {
	for _, tt := range []struct {
		even, sockets bool
		want          bitrate.Rate
	}{{true, true, 190 * mbit}, {true, false, 187 * mbit}, {false, true, 187 * mbit}} {
		turn := losing(5, 200*mbit)
		turn.Load.Sockets = tt.sockets
		b := Budget{Phase: plan.Trying, Total: 200 * mbit, Link: Link{Known: true, Capacity: 196 * mbit, Proven: 190 * mbit}}
		b.Search.Even, b.Search.Raised = tt.even, t0.Add(-500*ms)
		turn.cut(&b)
		if got := bitrate.Scale(b.Link.Capacity, config.Settle); !near(got, tt.want, 0.002) {
			t.Errorf("%+v: %v is to be given out again, want %v", tt, got, tt.want)
		}
	}
}
