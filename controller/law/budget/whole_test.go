package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// A first cut leaves one of those that get nothing of less all that it offers, where that may fit through. One that was
// not enough does not.
func TestAFirstCutLeavesOneAllThatItOffers(t *testing.T) {
	for name, tt := range map[string]struct {
		phase plan.Phase
		whole bitrate.Rate
		want  bitrate.Rate
	}{
		"of nobody":                {plan.Settled, 0, 100 * mbit},
		"that fits":                {plan.Settled, 165 * mbit, 165 * mbit},
		"of which nothing need go": {plan.Settled, 80 * mbit, 100 * mbit},
		"that hardly does":         {plan.Settled, 195 * mbit, 100 * mbit},
		"after a cut":              {plan.Draining, 165 * mbit, 100 * mbit},
	} {
		turn := Turn{Config: config, Now: t0, Load: senders.Load{Whole: tt.whole}}
		b := Budget{Phase: tt.phase, Total: 300 * mbit, Link: Link{Known: true, Capacity: 200 * mbit}}
		if turn.lower(&b, 300*mbit, 1, config.MaxCut); b.Total != tt.want {
			t.Errorf("an offer %s: %v, want %v", name, b.Total, tt.want)
		}
	}
}

// Loss tells only about what fits, by few probes: the first cut leaves one all that it offers where that may fit by as much
// as they may be off.
func TestWhatFitsByLossIsRough(t *testing.T) {
	for whole, want := range map[bitrate.Rate]bool{165 * mbit: true, 230 * mbit: false} {
		turn, b := losing(2, 300*mbit), Budget{Total: 2000 * mbit}
		turn.Load.Whole = whole
		turn.count(&b)
		if turn.cut(&b); (b.Total == whole) != want {
			t.Errorf("half of 300M is lost, and one needs %v: %v are left", whole, b.Total)
		}
	}
}

// What is more than is sent is no cut.
func TestAFirstCutLeavesLessThanIsSent(t *testing.T) {
	turn := Turn{Config: config, Now: t0, Load: senders.Load{Whole: 310 * mbit}}
	b := Budget{Phase: plan.Settled, Total: 500 * mbit, Link: Link{Known: true, Capacity: 400 * mbit}}
	if turn.lower(&b, 300*mbit, 1, config.MaxCut); b.Total != 200*mbit {
		t.Errorf("of 300M that are sent through 400M %v are left", b.Total)
	}
}

// futile is a turn at which nobody gets anything of 50M, and 160M are what one of them needs.
func futile() (Turn, Budget) {
	turn := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}
	turn.Load = senders.Load{Paced: true, Bound: true, InVain: true, More: true, Room: true, Lacks: 110 * mbit, Limits: 50 * mbit}
	b := Budget{Phase: plan.Exploring, Total: 50 * mbit, Search: Search{Even: true, At: t0}}
	b.Link = Link{Known: true, Capacity: 50 * mbit, Upper: 150 * mbit, Cut: t0.Add(-10 * time.Second)}
	return turn, b
}

// Where nobody gets anything of less than was too much lately, none of that is tried for: what is given out is just below
// it at once, which is of no use to anybody and costs nobody. It is tried for later, and sooner where it was not too much.
func TestWhatWasTooMuchIsNotTriedForWhereLessIsOfNoUse(t *testing.T) {
	turn, b := futile()
	if r := turn.grow(&b); r.Action != plan.Grow || b.Phase != plan.Settled || b.Total != bitrate.Scale(150*mbit, config.Settle) {
		t.Fatalf("%+v: %+v", r, b)
	}
	turn.Now = t0.Add(10 * time.Second)
	turn.Load.Limits, turn.Load.Lacks = b.Total, 15*mbit
	if r := turn.grow(&b); r.Action != plan.Hold {
		t.Errorf("after 20 s: %+v", r)
	}
	b.Link.Cut = turn.Now.Add(-config.ProbeEvery)
	if r := turn.grow(&b); r.Action != plan.Grow || b.Phase != plan.Trying {
		t.Errorf("later: %+v", r)
	}
	turn, b = futile()
	b.Link.Upper = 163 * mbit // limits are 3 % above what is offered under them
	if turn.grow(&b); b.Phase != plan.Settled {
		t.Errorf("160M were about too much: %v", b.Phase)
	}
	turn, b = futile()
	b.Link.Upper = 200 * mbit
	if r := turn.grow(&b); r.Action != plan.Grow || b.Phase != plan.Trying {
		t.Errorf("160M were not too much: %+v", r)
	}
	turn, b = futile()
	turn.Load.Peak = 45 * mbit
	if r := turn.grow(&b); b.Phase == plan.Settled {
		t.Errorf("somebody gets something: %+v", r)
	}
}

// What a link has lost by itself may come back any time, and of what nobody gets anything of nothing tells when: it is tried
// for after half a minute, then twice as long after each try in vain, and as soon as at first once it has fallen anew.
func TestWhatALinkHasLostIsTriedForWhereLessIsOfNoUse(t *testing.T) {
	turn, b := futile()
	b.Phase, b.Search.Even, b.Link.Best = plan.Settled, false, 200*mbit
	waits := func() time.Duration {
		cut := turn.Now
		for b.Link.Cut = cut; turn.grow(&b).Action != plan.Grow; turn.Now = turn.Now.Add(time.Second) {
			if turn.Now.Sub(cut) > time.Hour {
				t.Fatal("never")
			}
		}
		b.Phase, b.Total = plan.Settled, 50*mbit
		return turn.Now.Sub(cut)
	}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		if got := waits(); got != want {
			t.Errorf("tried for after %v, want %v", got, want)
		}
	}
	link := b.Link
	b.Link.Best = b.Link.Capacity
	turn.grow(&b) // all is back
	if b.Link = link; waits() != 30*time.Second {
		t.Error("what it loses then is not tried for as soon")
	}
	turn, b = futile()
	b.Phase, b.Search.Even, b.Link.Best, b.Link.Others = plan.Settled, false, 200*mbit, 100*mbit
	if got := waits(); got != config.ProbeEvery {
		t.Errorf("what others took of it is tried for after %v, want %v", got, config.ProbeEvery)
	}
}

// A try that takes several raises is one, and nothing is waited for between them.
func TestATryOfSeveralRaisesIsOne(t *testing.T) {
	turn, b := futile()
	b.Phase, b.Search.Even, b.Link.Best, b.Link.Upper = plan.Settled, false, 200*mbit, 163*mbit
	turn.Load.Lacks = 120 * mbit
	b.Link.Cut, turn.Now = t0, t0.Add(config.ProbeEvery/4)
	if r := turn.grow(&b); r.Action != plan.Grow || b.Total != 100*mbit || b.Search.Whole != config.ProbeEvery/4 {
		t.Fatalf("%+v: %v, waited for %v; want 100M after %v", r, b.Total, b.Search.Whole, config.ProbeEvery/4)
	}
	turn.Now, turn.Load.Lacks, turn.Load.Limits = turn.Now.Add(5*time.Second), 70*mbit, b.Total
	if r := turn.grow(&b); r.Action != plan.Grow || b.Total != 170*mbit || b.Search.Whole != config.ProbeEvery/4 {
		t.Errorf("%+v: %v, waited for %v; want 170M at once", r, b.Total, b.Search.Whole)
	}
}

// Where far less leaves the node than is sent under limits, as of one that has just come back from a pause and is not known
// yet not to slow down, that there is no queue proves nothing, and nothing is tried for.
func TestWhatDoesNotLeaveTheNodeProvesNothing(t *testing.T) {
	for out, want := range map[bitrate.Rate]plan.Action{0: plan.Grow, 5 * mbit: plan.Hold, 55 * mbit: plan.Grow} {
		turn, b := futile()
		b.Phase, b.Search.Even, b.Total = plan.Settled, false, 60*mbit
		turn.Load.InVain, turn.Load.Lacks, turn.Load.Over = false, 0, true
		turn.Load.Peak, turn.Load.Limits, turn.Load.Out = 58*mbit, 60*mbit, out
		if r := turn.grow(&b); r.Action != want || want == plan.Hold && b.Link.Proven > 0 {
			t.Errorf("%v leave of 58M: %+v, proven %v", out, r, b.Link.Proven)
		}
	}
}

// Limits of which nobody gets anything prove nothing: that more of them is given out than fitted through is no sign that
// all is back that once was.
func TestWhatNobodyGetsDoesNotProveThatCapacityIsBack(t *testing.T) {
	for peak, want := range map[bitrate.Rate]bool{0: false, 58 * mbit: true} {
		turn, b := futile()
		b.Phase, b.Search.Even, b.Total, b.Link.Best, b.Link.Upper = plan.Settled, false, 60*mbit, 300*mbit, 0
		b.Link.Cut = t0.Add(-time.Hour)
		turn.Load.Peak, turn.Load.Limits = peak, b.Total
		turn.Load.InVain = peak == 0
		turn.grow(&b)
		if back := b.Total == bitrate.Scale(300*mbit, config.Settle); back != want {
			t.Errorf("%v of 60M are used: %v", peak, b.Total)
		}
	}
}

// What is sent after a cut that leaves nobody anything is no measure of what went through as its queue stood.
func TestWhatIsSentAfterACutThatLeavesNobodyAnythingIsNoMeasure(t *testing.T) {
	for lacks, want := range map[bitrate.Rate]bool{0: false, 110 * mbit: true} {
		b, turn, see := youngQueue(150*mbit, func(time.Duration) time.Duration { return 40 * ms })
		see(-400, 190)
		sender := plan.Sender{Pod: plan.PodID{Name: "s"}, Node: "n1"}
		for i := -400; i <= 200; i += 100 {
			sent := 150 * mbit
			if i > 0 {
				sent = 2 * mbit
			}
			sender.Rates = append(sender.Rates, plan.TxRate{At: plan.At(t0.Add(time.Duration(i) * ms)), Tx: sent})
		}
		turn.Now, turn.Senders, turn.Load.Paced = t0.Add(200*ms), []*plan.Sender{&sender}, true
		turn.Load.Peak, turn.Load.Lacks, b.Link.Known = 2*mbit, lacks, false
		b.Link.Cut, b.Link.Upper, b.Trouble.InForce, b.Total = t0, 150*mbit, 200*mbit, 39*mbit
		if e := turn.episode(&b); (e.full > 140*mbit) != want {
			t.Errorf("nobody gets anything %v: %v went through", want, e.full)
		}
	}
}
