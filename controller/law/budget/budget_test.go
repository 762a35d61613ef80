package budget

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

const (
	ms   = time.Millisecond
	mbit = bitrate.Mbit
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// config is that of production, as far as these tests look.
var config = Config{
	Drain: 120 * ms, MinCut: 0.04, MaxCut: 0.5, Settle: 0.97, Fruitless: 3, RaiseEvery: time.Second, RaiseStep: 0.02,
	MaxRaise: 0.3, ProbeEvery: 2 * time.Minute, MaxProbeEvery: 16 * time.Minute,
}

// Who sends what is known for a second, and for as much longer as nothing new is to come.
func TestMoreIsTriedForOnWhatIsKnown(t *testing.T) {
	for _, tt := range []struct {
		age, pause time.Duration
		want       plan.Cause
	}{
		{900 * ms, 0, plan.Calm},
		{1050 * ms, 0, plan.Blind},
		{1050 * ms, time.Second, plan.Calm},
		{2050 * ms, time.Second, plan.Blind},
	} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
		turn.Load = senders.Load{Peak: 95 * mbit, Limits: 100 * mbit, More: true, Bound: true, Seen: t0.Add(-tt.age), Pause: tt.pause}
		if r := turn.grow(&Budget{Total: 100 * mbit}); r.Cause != tt.want {
			t.Errorf("what was sent %v ago, with a pause of %v: %v, want %v", tt.age, tt.pause, r.Cause, tt.want)
		}
	}
}

// Who is blind loses a little each second, also with a round a second that is a little early.
func TestALittleIsTakenEachSecond(t *testing.T) {
	for after, want := range map[time.Duration]plan.Action{900 * ms: plan.Hold, 990 * ms: plan.Cut} {
		turn := Turn{Config: config, Decrease: true, Now: t0, Opinion: &blame.Opinion{}}
		turn.Load = senders.Load{Peak: 95 * mbit, Limits: 100 * mbit, Room: true}
		if r := turn.blind(&Budget{Total: 100 * mbit, Link: Link{Cut: t0.Add(-after)}}); r.Action != want {
			t.Errorf("%v after a cut: %v, want %v", after, r.Action, want)
		}
	}
}

// Capacity that was lost may come back soon, and is tried for again sooner than
// more than ever was; each try that finds none doubles the wait.
func TestLostCapacityIsTriedForSoon(t *testing.T) {
	for _, tt := range []struct {
		name string
		best bitrate.Rate
		want []time.Duration
	}{
		{"lost", 200 * mbit, []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second}},
		{"never more", 100 * mbit, []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 16 * time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			turn := Turn{Config: config, Opinion: &blame.Opinion{}}
			b := Budget{Link: Link{Known: true, Capacity: 100 * mbit, Best: tt.best, Measured: true}}
			for i, want := range tt.want {
				if turn.wait(&b, i > 0); b.Search.Wait != want {
					t.Errorf("after %d tries in vain the next is in %v, want %v", i, b.Search.Wait, want)
				}
			}
		})
	}
}

// Where the capacity is known, a short queue that does not grow is no sign of less
// of it: half of what is used would be far too much to take.
func TestAShortQueueAtAKnownCapacityIsCutGently(t *testing.T) {
	for _, tt := range []struct {
		queue    time.Duration
		slope    float64
		measured bool
		least    float64 // of the usage that is left
	}{{3 * ms, 0, true, 0.9}, {3 * ms, 0, false, 0.4}, {3 * ms, 0.5, true, 0.4}, {30 * ms, 0, true, 0.4}} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Feedback: 300 * ms, Load: senders.Load{Peak: 190 * mbit, Limits: 191 * mbit, Room: true}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Standing: true,
			Worst: sense.Reading{Low: tt.queue, Median: tt.queue, Recent: tt.queue, Slope: tt.slope, Session: &plan.Session{}, Base: plan.Base{Known: true}},
		}
		b := Budget{Total: 191 * mbit, Link: Link{Known: true, Capacity: 197 * mbit, Best: 197 * mbit, Measured: tt.measured}}
		turn.cut(&b)
		if left := float64(b.Total) / float64(190*mbit); left < tt.least || left > tt.least+0.1 {
			t.Errorf("%+v: %.2f of the usage is left, want about %v", tt, left, tt.least)
		}
	}
}

// What left the uplink says at most that as much fits as was sent while a queue stood: others
// that pause just then come back.
func TestNoMoreFitsThroughThanWhatAQueueStoodAt(t *testing.T) {
	b := Budget{Total: 100 * mbit, Link: Link{Upper: 250 * mbit}}
	turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
	if turn.measure(&b, episode{full: 240 * mbit, passed: 900 * mbit, pinned: true}); b.Link.Capacity > 250*mbit {
		t.Errorf("%v are thought to fit, where a queue stood at 250M", b.Link.Capacity)
	}
}

// A queue that leaves is not taken for lateness that has no queue: until no packet from before can be
// among the newest, which are older where agents report less often.
func TestAQueueThatLeavesIsNotLateByItself(t *testing.T) {
	for _, tt := range []struct {
		since, pause time.Duration
		gone         bool
	}{{250 * ms, 0, true}, {350 * ms, 0, false}, {350 * ms, 400 * ms, true}, {750 * ms, 400 * ms, false}} {
		turn := Turn{Config: config, Sense: sense.Config{Window: 200 * ms}, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Peak: 160 * mbit, Limits: 160 * mbit, Room: true}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Tail: true,
			Worst: sense.Reading{Tail: 5 * ms, Session: &plan.Session{Pause: tt.pause}, Base: plan.Base{Known: true}},
		}
		b := Budget{
			Total: 160 * mbit, Phase: plan.Draining, Link: Link{EffectBy: t0.Add(-tt.since)},
			Trouble: Trouble{Cuts: 1, Depth: 0.3, Doubted: t0.Add(-time.Second), Found: Found{Used: 220 * mbit, Tail: 5 * ms}},
		}
		if r := turn.draining(&b); (r.Cause == plan.AwaitEffect) != tt.gone {
			t.Errorf("%v after a cut, with a pause of %v: %v %v", tt.since, tt.pause, r.Action, r.Cause)
		}
	}
}

// A queue leaves as fast as the link is: beside others who use most of it, next to nothing is
// sent until it has.
func TestACutBesideOthersIsAsDeepAsTheLinkNeeds(t *testing.T) {
	for others, want := range map[bitrate.Rate]bitrate.Rate{0: 30 * mbit, 30 * mbit: 15 * mbit, 140 * mbit: 3 * mbit} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Feedback: 300 * ms, Load: senders.Load{Peak: 60 * mbit, Limits: 60 * mbit, Room: true}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Standing: true,
			Worst: sense.Reading{Low: 80 * ms, Median: 80 * ms, Recent: 80 * ms, Session: &plan.Session{}, Base: plan.Base{Known: true}},
		}
		b := Budget{Total: 60 * mbit, Phase: plan.Draining, Link: Link{Known: true, Capacity: 60 * mbit, Measured: true, Others: others}, Trouble: Trouble{Cuts: 1, Found: Found{Used: 60 * mbit}}}
		if turn.cut(&b); max(b.Total-want, want-b.Total) > mbit {
			t.Errorf("beside %v of others %v are left, want %v", others, b.Total, want)
		}
	}
}

// The first cut is to half of what was sent, or to less where that may not fit through.
func TestAFirstCutGoesByHowFastTheQueueGrew(t *testing.T) {
	for slope, want := range map[float64]float64{0: 0.5, 1: 0.7, 0.25: 0.52} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Peak: 300 * mbit}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Standing: true,
			Worst: sense.Reading{Low: 40 * ms, Median: 40 * ms, Recent: 40 * ms, Slope: slope, Session: &plan.Session{}, Base: plan.Base{Known: true}},
		}
		b := Budget{Total: 300 * mbit, Link: Link{Upper: 300 * mbit}, Trouble: Trouble{Rise: queue.Way{Slope: slope}}}
		if _, most, _ := turn.estimate(&b); math.Abs(most-want) > 1e-9 {
			t.Errorf("at a slope of %v, %v of it is taken, want %v", slope, most, want)
		}
	}
}

// A link that falls again and again within a minute is believed to be back later and
// later; a minute after it fell last that is forgotten.
func TestALinkThatKeepsFallingIsTriedForLater(t *testing.T) {
	b := Budget{Link: Link{Known: true, Capacity: 100 * mbit, Best: 200 * mbit}}
	at := t0
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
		b.Link.fell(at)
		turn := Turn{Config: config, Now: at, Opinion: &blame.Opinion{}}
		if got := turn.comeback(&b); got != want {
			t.Errorf("after fall %d: it is tried for in %v, want %v", i+1, got, want)
		}
		if got := b.Link.unsteady(at); got != (i > 0) {
			t.Errorf("after fall %d: unsteady %v", i+1, got)
		}
		at = at.Add(10 * time.Second)
	}
	if at = at.Add(time.Minute); b.Link.unsteady(at) {
		t.Error("unsteady for longer than a minute")
	}
	if b.Link.fell(at); b.Link.Falls != 1 {
		t.Errorf("%d falls are remembered after a minute without, want 1", b.Link.Falls)
	}
}

// More is tried for in growing steps, but never in one leap beyond what ever fitted
// through.
func TestATryStopsAtWhatEverFittedThrough(t *testing.T) {
	b := Budget{
		Phase: plan.Trying, Total: 150 * mbit, Link: Link{Known: true, Capacity: 147 * mbit, Best: 180 * mbit, Falls: 2, Fell: t0.Add(-20 * time.Second)},
		Search: Search{Step: 0.3},
	}
	turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Peak: 150 * mbit, Limits: 150 * mbit, Bound: true, More: true}}
	if turn.grow(&b); b.Total != bitrate.Scale(180*mbit, config.Settle) || b.Search.Step != config.RaiseStep {
		t.Errorf("the budget is raised to %v, and by %v next", b.Total, b.Search.Step)
	}
}

// Senders that paused while a queue left say nothing of what fits through: it is not 0.
func TestWhoPausesIsNoCapacity(t *testing.T) {
	var e episode
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 5 { // at 0.9 s a second
		e.ramp = append(e.ramp, queue.Delay{At: at.Add(time.Duration(i) * 10 * time.Millisecond), Above: 40*time.Millisecond - time.Duration(i)*9*time.Millisecond})
	}
	e.full = 200 * bitrate.Mbit
	paused := &plan.Sender{Rates: []plan.TxRate{{At: plan.At(at.Add(100 * time.Millisecond))}}}
	if got := (&Turn{Senders: []*plan.Sender{paused}}).emptied(e); got != e.full {
		t.Errorf("%v fit through by who sends nothing, want %v", got, e.full)
	}
}

// A first cut waits for a sub-window that is of after the onset for the most part.
func TestHowLongAFirstCutWaits(t *testing.T) {
	for _, tt := range []struct {
		from, to, now time.Duration // of the newest sub-window, since the onset
		early         bool
		streams       bool // limits are in force at once
	}{
		{-60 * ms, 40 * ms, 50 * ms, true, false},
		{-30 * ms, 70 * ms, 80 * ms, false, false},
		{-25 * ms, 25 * ms, 40 * ms, true, false}, // a short one, as what is sent turned
		{-25 * ms, 25 * ms, 40 * ms, false, true},
		{-18 * ms, 7 * ms, 20 * ms, true, true},
		{-10 * ms, 40 * ms, 50 * ms, false, false},
		{-200 * ms, -100 * ms, 400 * ms, true, false},
		{-200 * ms, -100 * ms, 600 * ms, false, false}, // nothing more is told
	} {
		onset := t0.Add(-tt.now)
		path := &plan.Session{Base: plan.Base{Delay: ms, Known: true}}
		for at := t0.Add(-time.Second); at.Before(t0); at = at.Add(5 * ms) {
			x := plan.Sample{At: plan.At(at), RTT: ms}
			if !at.Before(onset) {
				x.RTT = 30 * ms
			}
			path.Samples = append(path.Samples, x)
		}
		turn := Turn{Now: t0, Paths: []queue.Path{{Session: path}}, Opinion: &blame.Opinion{}}
		turn.Load = senders.Load{Peak: 100 * mbit, SeenFrom: onset.Add(tt.from), Seen: onset.Add(tt.to), Streams: tt.streams}
		turn.Sense.Window = 250 * ms
		if got := turn.early(&Budget{Total: 2000 * mbit}); got != tt.early {
			t.Errorf("a sub-window from %v to %v after an onset, %v after it: early = %v", tt.from, tt.to, tt.now, got)
		}
	}
}

// A try that meets a queue ends below what has met none, where limits are in force at once: of a queue so young little is
// known, and a limit that is still too much makes packets late for as long as it takes to see that.
func TestATryIsCutToWhatHadNoQueue(t *testing.T) {
	for _, tt := range []struct {
		what        string
		streams     bool
		phase       plan.Phase
		proven      bitrate.Rate
		least, most bitrate.Rate
	}{
		{"a try", true, plan.Trying, 185 * mbit, 170 * mbit, 185 * mbit},
		{"a try, before another limiter", false, plan.Trying, 185 * mbit, 186 * mbit, 214 * mbit},
		{"a try of which nothing was in use", true, plan.Trying, 0, 186 * mbit, 214 * mbit},
		{"a try of which next to nothing was", true, plan.Trying, mbit, bitrate.Scale(215*mbit, 1-config.MaxCut), 186 * mbit},
		{"a queue soon after another", true, plan.Settled, 120 * mbit, 186 * mbit, 214 * mbit},
	} {
		b := Budget{
			Phase: tt.phase, Total: 215 * mbit, Link: Link{Known: true, Measured: true, Capacity: 215 * mbit, Proven: tt.proven},
			Search: Search{Raised: t0.Add(-60 * ms)},
		}
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Feedback: 10 * ms}
		turn.Opinion.Allow, turn.Opinion.Soft, turn.Opinion.Worst.Recent = ms, ms/2, 600*time.Microsecond
		turn.Load = senders.Load{Peak: 213 * mbit, Limits: 215 * mbit, Bound: true, More: true, Streams: tt.streams}
		if turn.cut(&b); b.Total < tt.least || b.Total > tt.most {
			t.Errorf("%s: cut to %v, want %v to %v", tt.what, b.Total, tt.least, tt.most)
		}
		if x := &b.Trouble; !near(bitrate.Scale(x.Found.Used, 1-x.Depth), b.Total, 0.01) {
			t.Errorf("%s: %.2f of %v is not taken by a cut to %v", tt.what, x.Depth, x.Found.Used, b.Total)
		}
	}
}

// How soon a cut was in force counts from the cut, also where a deeper one came before it showed.
func TestWhatACutTookCountsFromTheFirst(t *testing.T) {
	first, deeper := t0.Add(-200*ms), t0.Add(-180*ms)
	for cuts, took := range map[int]bool{1: true, 2: false} {
		path := &plan.Session{Base: plan.Base{Delay: ms, Known: true}}
		for at := first.Add(-60 * ms); at.Before(t0); at = at.Add(5 * ms) {
			queued := min(at.Sub(first)+60*ms, first.Add(15*ms).Sub(at)*2+75*ms) / 2 // it turns 15 ms after the first
			path.Samples = append(path.Samples, plan.Sample{At: plan.At(at), RTT: ms + max(0, queued)})
		}
		b := Budget{Total: 110 * mbit, Link: Link{Cut: deeper}, Trouble: Trouble{Cuts: cuts, Before: Before{At: first}}}
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Paths: []queue.Path{{Session: path}}}
		turn.Sense.Window = 250 * ms
		if e := turn.episode(&b); e.took > 0 != took || e.took > 25*ms {
			t.Errorf("after %d cuts it took %v", cuts, e.took)
		}
	}
}

// Windows in which a host stood still say too little. The figures of the first two are of a real link of 191M.
func TestWhichThroughputIsBelieved(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen []bitrate.Rate // Mbit/s
		e    episode
		want bitrate.Rate
	}{
		{"the host stood still, and the way down is unclear", []bitrate.Rate{167, 195, 201}, episode{}, 195},
		{"the host stood still, and the queue left", []bitrate.Rate{132, 193}, episode{down: queue.Way{Slope: -0.62, Inflow: 82 * mbit}}, 193},
		{"an app that is late by its own host bends the way up", []bitrate.Rate{199, 234}, episode{down: queue.Way{Slope: -0.41, Inflow: 118 * mbit}}, 199},
	} {
		for i := range tt.seen {
			tt.seen[i] *= mbit
		}
		if got := tt.e.credible(tt.seen); got != tt.want*mbit {
			t.Errorf("%s: %v, want %dM", tt.name, got, tt.want)
		}
	}
}

// A sub-window in which a queue began is partly of before: what is sent is more than it
// says, and the search for what fits through ends at that.
func TestWhatIsSentSinceAnOnset(t *testing.T) {
	const w = senders.Window
	for _, tt := range []struct {
		name       string
		ago        time.Duration // the queue began so long before the end of the sub-window
		last, want bitrate.Rate
		streams    bool // limits are in force at once
	}{
		{"in the last eighth", w / 8, 150 * mbit, 200 * mbit, false},
		{"in the last eighth, where it is cut sooner", w / 8, 150 * mbit, 375 * mbit, true},
		{"halfway, where it is cut sooner", w / 2, 150 * mbit, 300 * mbit, true},
		{"after an eighth", w * 7 / 8, 150 * mbit, 171 * mbit, false},
		{"before it", 2 * w, 150 * mbit, 150 * mbit, false},
		{"and less is sent", w / 2, 0, 150 * mbit, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &plan.Sender{Rates: []plan.TxRate{{At: plan.At(t0.Add(-w))}, {At: plan.At(t0), Tx: tt.last}}}
			path := &plan.Session{Base: plan.Base{Delay: ms, Known: true}}
			for at := t0.Add(-10 * w); !at.After(t0); at = at.Add(ms) {
				x := plan.Sample{At: plan.At(at), RTT: ms}
				if !at.Before(t0.Add(-tt.ago)) {
					x.RTT = 30 * ms
				}
				path.Samples = append(path.Samples, x)
			}
			turn := Turn{Now: t0, Senders: []*plan.Sender{s}, Paths: []queue.Path{{Session: path}}, Load: senders.Load{Peak: 150 * mbit, Streams: tt.streams}}
			turn.Sense.Window = 250 * ms
			if got := turn.sinceOnset(&Budget{}); !near(got, tt.want, 0.01) {
				t.Errorf("%v are sent by now, want %v", got, tt.want)
			}
		})
	}
}

// A recording of before Overbooked belonged to Search is read as one of today.
func TestABudgetThatWasKeptBeforeIsRead(t *testing.T) {
	var want Budget
	want.Total, want.Search.Step, want.Search.Overbooked.By = 194*mbit, 0.02, 0.5
	kept, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(kept), `{"Total":194000000,"Search":{"Step":0.02},"Overbooked":{"By":0.5}}`} {
		var got Budget
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// A short queue that leaves looks like packets that are late by themselves: some find the
// path empty, and the others are as late as before. Nobody gets their limits back for that.
func TestAQueueThatLeavesIsNotTakenForWhatIsLateByItself(t *testing.T) {
	for since, want := range map[time.Duration]plan.Action{180 * ms: plan.Hold, 600 * ms: plan.Restore} {
		turn := Turn{Config: config, Now: t0, Feedback: 100 * ms, Opinion: &blame.Opinion{}}
		turn.Sense.Window = 250 * ms
		turn.Load = senders.Load{Peak: 195 * mbit, Limits: 195 * mbit, Seen: t0, SeenFrom: t0.Add(-100 * ms), Room: true}
		v := turn.Opinion
		v.Standing, v.Allow, v.Soft = true, ms, ms/2
		v.Worst = sense.Reading{Samples: 7, Least: ms / 7, Recent: ms, Tail: 2650 * time.Microsecond}
		b := Budget{Phase: plan.Draining, Total: 195 * mbit, Link: Link{Cut: t0.Add(-since - 100*ms), EffectBy: t0.Add(-since)}}
		b.Trouble = Trouble{Cuts: 1, Depth: 0.17, InForce: 240 * mbit, Found: Found{Queue: 3 * ms, Tail: 3 * ms, Used: 235 * mbit}}
		if got := turn.Decide(&b); got.Action != want {
			t.Errorf("%v after the cut was in force: %v for %v, want %v", since, got.Action, got.Cause, want)
		}
	}
}

// Who shares a link and comes for more again and again is left what they came for last: until
// they have not for two minutes, no more is tried for than they left at least.
func TestNoMoreIsTriedForThanOthersLeaveAtLeast(t *testing.T) {
	l := Link{Known: true, Best: 180 * mbit, Others: 100 * mbit}
	left := []bitrate.Rate{150 * mbit, 95 * mbit, 105 * mbit}
	at := t0
	for _, capacity := range left {
		at = at.Add(10 * time.Second)
		l.fell(at)
		l.learn(capacity, true)
		l.left(at)
	}
	if l.Least != 95*mbit {
		t.Errorf("others left %v at least, want 95M: of one fall nobody says that there will be others", l.Least)
	}
	for _, tt := range []struct {
		total bitrate.Rate
		after time.Duration
		want  bool
	}{{95 * mbit, time.Second, true}, {80 * mbit, time.Second, false}, {95 * mbit, leastMemory, false}} {
		if got := l.spent(tt.total, 1, at.Add(tt.after)); got != tt.want {
			t.Errorf("with %v given out, %v later: all is given out %v, want %v", tt.total, tt.after, got, tt.want)
		}
	}
	alone := Link{Known: true, Capacity: 95 * mbit, Falls: 2, Fell: at, Others: 10 * mbit}
	if alone.left(at); alone.Least != 0 {
		t.Errorf("%v is taken for what others leave who use next to nothing", alone.Least)
	}
}

// A queue that has grown to forty milliseconds since a cut to nine tenths, and stays, says that
// those do not fit through; one that leaves, or that others hold at one length, says nothing of it.
func TestAQueueThatGrowsAfterACutIsNotBelievedToFit(t *testing.T) {
	for _, tt := range []struct {
		now   time.Duration
		slope float64
		known bool
	}{{40 * ms, 0, false}, {40 * ms, -0.08, true}, {2 * ms, 0, true}} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Load: senders.Load{Peak: 166 * mbit}}
		turn.Opinion.Verdict = sense.Verdict{
			Allow: ms, Soft: ms / 2, Standing: true,
			Worst: sense.Reading{Low: tt.now, Median: tt.now, Recent: tt.now, Slope: tt.slope, Session: &plan.Session{}, Base: plan.Base{Known: true}},
		}
		b := Budget{Total: 167 * mbit, Phase: plan.Draining, Link: Link{Known: true, Capacity: 183 * mbit, Measured: true}, Trouble: Trouble{Found: Found{Queue: 1700 * time.Microsecond}}}
		if turn.estimate(&b); b.Link.Known != tt.known {
			t.Errorf("a queue of %v with a slope of %v: the capacity is known %v, want %v", tt.now, tt.slope, b.Link.Known, tt.known)
		}
	}
}

// A cut is in force once limits are lower. That somebody has fallen silent, whose limit is not
// reckoned with then, lowers none.
func TestWhoFallsSilentPutsNoCutInForce(t *testing.T) {
	turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}, Feedback: 100 * ms, Load: senders.Load{Peak: 190 * mbit, Limits: 200 * mbit, Room: true}}
	turn.Opinion.Verdict = sense.Verdict{
		Allow: ms, Soft: ms / 2, Standing: true,
		Worst: sense.Reading{Low: 40 * ms, Median: 40 * ms, Recent: 40 * ms, Session: &plan.Session{}, Base: plan.Base{Known: true}},
	}
	b := Budget{Total: 200 * mbit}
	turn.cut(&b)
	for name, tt := range map[string]struct {
		load senders.Load
		want bool
	}{
		"nothing is written":             {senders.Load{Limits: 200 * mbit}, true},
		"one of two has fallen silent":   {senders.Load{Limits: 100 * mbit, Unused: 100 * mbit}, true},
		"it is written":                  {senders.Load{Limits: b.Total}, false},
		"it is written, and one is idle": {senders.Load{Limits: b.Total / 2, Unused: b.Total / 2}, false},
	} {
		later := turn
		later.Now, later.Load = t0.Add(time.Second), tt.load
		if got := later.unwritten(&b); got != tt.want {
			t.Errorf("%s: the cut waits to be in force %v, want %v", name, got, tt.want)
		}
	}
}

// A queue of 80 ms that leaves at a twenty-fifth of the link's rate takes two seconds: the cut was not deep
// enough, and another one is made.
func TestAQueueThatLeavesTooSlowlyIsNotWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		queue time.Duration
		slope float64
		want  bool
	}{{80 * ms, -0.04, false}, {80 * ms, -0.3, true}, {2 * ms, -0.04, true}, {2 * ms, 0, false}} {
		turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
		turn.Opinion.Verdict = sense.Verdict{Allow: ms, Soft: ms / 2, Standing: true, Worst: sense.Reading{Recent: tt.queue, Slope: tt.slope}}
		b := Budget{Link: Link{EffectBy: t0.Add(-300 * ms)}}
		if got := turn.emptying(&b); got != tt.want {
			t.Errorf("a queue of %v with a slope of %v: waited for %v, want %v", tt.queue, tt.slope, got, tt.want)
		}
	}
}
