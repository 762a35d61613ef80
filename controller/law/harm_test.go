package law

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// echo plays an app that is late for as long as the senders together may send more
// than enough, and says for how long they were left less than a quarter of what
// they would send. No queue stands anywhere.
func (s *stage) echo(enough func() bitrate.Rate, late, lasting time.Duration) (harmed time.Duration, causes map[plan.Cause]int) {
	would := s.sending * bitrate.Rate(len(s.o.Senders))
	causes = map[plan.Cause]int{}
	for range lasting / (250 * ms) {
		session := &s.o.Apps[0].Sessions[0]
		session.Samples = last(session.Samples, 150)
		var may bitrate.Rate
		for i := range s.o.Senders {
			x := &s.o.Senders[i]
			may += min(x.Limit, s.sending)
		}
		if s.delay = 0; may > enough() {
			s.delay = late
		}
		if s.run(250 * ms); 4*may < would {
			harmed += 250 * ms
		}
		causes[s.reason().Cause]++
	}
	return harmed, causes
}

// An echo that answers late until everybody is at the floor holds them there for no
// longer than it may, is named, and is let be.
func TestAnEchoThatIsLateUntilOthersAreAtTheFloorIsBounded(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit, 1000*mbit)
	s.sending = 50 * mbit
	s.run(2 * time.Second)
	floor := func() bitrate.Rate { return 30 * mbit }
	harmed, causes := s.echo(floor, 40*ms, time.Hour)
	c := DefaultConfig().Adaptive.Blame
	if harmed < c.Harm/2 {
		t.Fatalf("others were held at their floors for %v: the attack does not work, %v", harmed, causes)
	}
	if most := 2*c.Harm + 10*time.Second; harmed > most {
		t.Errorf("others were held at their floors for %v of an hour, want at most %v: %v", harmed, most, causes)
	}
	if causes[plan.TooCostly] == 0 {
		t.Errorf("the bound was never named: %v", causes)
	}
	t.Logf("harmed %v of an hour: %v", harmed, causes)
}

// What the agent beside an app sees too, or says in its place, is congestion: it stays
// relieved for as long as it lasts.
func TestWhatTheNodeSessionSeesTooIsNotBounded(t *testing.T) {
	for _, tt := range []struct{ nodeSession, nodeReflects bool }{{false, false}, {true, false}, {false, true}} {
		s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit, 1000*mbit)
		cfg := DefaultConfig()
		cfg.Adaptive.Blame.Harm = 20 * time.Second
		var err error
		if s.Law, err = New(Adaptive, cfg); err != nil {
			t.Fatal(err)
		}
		s.sending = 50 * mbit
		app := &s.o.Apps[0]
		if app.NodeReflects = tt.nodeReflects; tt.nodeSession {
			app.NodeSessions = []plan.Session{{ID: "agent", Vantage: "n2"}}
		}
		s.run(2 * time.Second)
		spent, cuts := 0, 0
		for range 4 * 60 * 3 {
			session := &app.Sessions[0]
			if tt.nodeSession { // what it sees is what the app sees
				app.NodeSessions[0].Samples = append([]plan.Sample(nil), session.Samples...)
			}
			_, causes := s.echo(func() bitrate.Rate { return 30 * mbit }, 40*ms, 250*ms)
			spent += causes[plan.TooCostly]
			cuts += causes[plan.Violation]
		}
		if bounded := spent > 0; bounded == (tt.nodeSession || tt.nodeReflects) || cuts == 0 {
			t.Errorf("%+v: %d cuts, %d looks bounded", tt, cuts, spent)
		}
	}
}

// Giving up a cut that was in vain goes back to what was before it, and that may
// still be less than what was before the first: the account stays open.
func TestGivingUpDoesNotForgetWhatAnAppHasCost(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Adaptive.Blame.Harm = 4 * time.Second
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	var err error
	if s.Law, err = New(Adaptive, cfg); err != nil {
		t.Fatal(err)
	}
	s.run(2 * time.Second)
	n := 0
	harmed, causes := s.echo(func() bitrate.Rate { // late in every other second
		if n++; n/4%2 == 0 {
			return 1000 * mbit
		}
		return 20 * mbit
	}, 3*ms, 3*time.Minute)
	if causes[plan.Unresponsive] == 0 || harmed > 20*time.Second {
		t.Errorf("harmed for %v of three minutes: %v", harmed, causes)
	}
}

// Whatever an app pretends, others are harmed on its account for no longer than the
// bound, and what is earned of it again.
func TestNoAppHarmsOthersForLongerThanTheBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := DefaultConfig()
		c := &cfg.Adaptive.Blame
		c.Harm, c.HarmWindow = time.Duration(rapid.IntRange(1, 30).Draw(rt, "harm"))*time.Second, 10*time.Minute
		s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
		var err error
		if s.Law, err = New(Adaptive, cfg); err != nil {
			rt.Fatal(err)
		}
		s.sending = bitrate.Rate(rapid.IntRange(45, 150).Draw(rt, "sending")) * mbit
		s.run(2 * time.Second)
		enough := bitrate.Rate(rapid.IntRange(20, 50).Draw(rt, "enough")) * mbit
		flicker := rapid.IntRange(0, 60).Draw(rt, "flicker")
		n := 0
		when := func() bitrate.Rate {
			if n++; flicker > 0 && n/4%flicker == 0 {
				return 1000 * mbit
			}
			return enough
		}
		const lasting = 3 * time.Minute
		harmed, causes := s.echo(when, time.Duration(rapid.IntRange(2, 80).Draw(rt, "late"))*ms, lasting)
		// A restore takes a step to be in force.
		most := c.Harm + time.Duration(float64(lasting)*float64(c.Harm)/float64(c.HarmWindow)) + 10*time.Second
		if harmed > most {
			rt.Errorf("harmed for %v, want at most %v: %v", harmed, most, causes)
		}
	})
}
