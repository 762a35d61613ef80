package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// An app that never answered has a probe that does not fit: nobody is cut for it.
func TestWhatNeverAnsweredCostsNobody(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.lost = 50
	s.run(time.Minute)
	if s.writes != 0 {
		t.Errorf("%d writes for an app that never answered", s.writes)
	}
	if r := s.reason(); r.Cause != plan.Blind {
		t.Errorf("reason %+v", r)
	}
}

// One that stopped answering altogether is tried to be helped once, then let be for
// longer and longer.
func TestWhatStoppedAnsweringIsTriedOnce(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.run(3 * time.Second)
	s.lost = 50
	s.run(20 * time.Second)
	tried := s.writes
	if tried == 0 {
		t.Fatal("nothing was tried")
	}
	if got := s.limits()[0]; got != 1000 {
		t.Errorf("limit %vM after 20 s, want what it was", got)
	}
	for range 140 {
		n := s.writes
		s.run(250 * ms)
		if s.writes != n {
			t.Logf("%v %+v", s.o.At.Sub(t0), s.reason())
		}
	}
	if s.writes != tried {
		t.Errorf("%d more writes within the back-off", s.writes-tried)
	}
	s.run(10 * time.Minute)
	if s.writes > 6*tried {
		t.Errorf("%d writes in ten minutes, after %d for one trial", s.writes, tried)
	}
}

// A probe that never leaves the node meets no queue, and has nobody cut.
func TestASessionFromTheAppsOwnNodeHasNobodyCut(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.o.Apps[0].Sessions[0].Vantage = "n1"
	s.run(2 * time.Second)
	s.delay = 40 * ms
	s.run(10 * time.Second)
	if s.writes != 0 {
		t.Errorf("%d writes for a path that no queue is on: %+v", s.writes, s.reason())
	}
}

// Of three paths and more one is not believed alone, unless its own node sends.
func TestOneVantageOfThreeNeedsAnother(t *testing.T) {
	for _, tt := range []struct {
		node string // of the senders
		late int    // paths
		cut  bool
	}{{"n1", 1, false}, {"n1", 2, true}, {"n1", 3, true}, {"n2", 1, true}} {
		s := newStage(t, jitter1ms, 1000*mbit)
		s.o.Senders[0].Node = tt.node
		app := &s.o.Apps[0]
		app.Sessions = append(app.Sessions, plan.Session{ID: "b", Vantage: "n3"}, plan.Session{ID: "c", Vantage: "n4"})
		for range 40 {
			if s.o.At.Sub(t0) > 2*time.Second {
				s.delay = 40 * ms
			}
			was := len(app.Sessions[0].Samples)
			s.run(250 * ms)
			for k := 1; k < 3; k++ { // seen at the next step
				for _, x := range app.Sessions[0].Samples[was:] {
					if k >= tt.late {
						x.RTT = 300 * time.Microsecond
					}
					n := len(app.Sessions[k].Samples)
					app.Sessions[k].Samples = append(app.Sessions[k].Samples[:n:n], x)
				}
			}
		}
		if cut := s.writes > 0; cut != tt.cut {
			t.Errorf("%+v: %d writes, %+v", tt, s.writes, s.reason())
		}
	}
}

// The original skips a round without measurements: no sample is no jitter of 0.
func TestTheOriginalsDoNotRaiseBlind(t *testing.T) {
	l, err := New(AIMD, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	run := Run{Law: l}
	o := plan.Observation{At: t0, Apps: []plan.App{udpApp("robot", 100, ms, spread(t0, 100*ms, 100, 0))}, Senders: []plan.Sender{sender("telemetry", 500*mbit)}}
	raises, blind := 0, 0
	for i := range 200 {
		o.At = t0.Add(time.Duration(i) * 100 * ms)
		p := run.Step(o)
		if i < 30 {
			raises += len(p.Limits)
		} else if i > 50 {
			blind += len(p.Limits)
		}
	}
	if raises == 0 || blind > 0 {
		t.Errorf("%d raises while it saw and %d when samples had stopped, want some and none", raises, blind)
	}
}

// Senders whose agent has fallen silent are not idle for that: who is late because of them
// is helped, and nobody is given more.
func TestWhoIsNotCountedAnyMoreIsNotIdle(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	s.run(3 * time.Second)
	s.uncounted = true
	s.run(1500 * ms)
	s.delay = 40 * ms
	s.run(time.Second)
	if got := s.limits(); got[0] > 300 || got[1] > 300 {
		t.Fatalf("limits of %vM where they may send 300M: %+v", got, s.reason())
	}
	s.delay = 0
	s.run(time.Second)
	cut := s.limits()
	s.run(1500 * ms)
	if got := s.limits(); got[0] > cut[0] || got[1] > cut[1] {
		t.Errorf("raised from %vM to %vM while nobody knows who sends what", cut, got)
	}
}

// While all is calm nothing new is expected for a second more. Of an agent that dies in it
// one raise can come, of a limit that was there before: with that the others hurry, and the
// pause is over before the next.
func TestWhoDiesInAPauseRaisesOnce(t *testing.T) {
	most := 0
	for die := 3 * time.Second; die < 8*time.Second; die += 250 * ms {
		s := newStage(t, jitter1ms, 50*mbit)
		var busy time.Time // since when it is searched there
		raises := 0
		step := func() {
			pause := time.Second
			if !busy.IsZero() && s.o.At.Sub(busy) >= 300*ms {
				pause = 0
			}
			s.o.Apps[0].Sessions[0].Pause, s.o.Senders[0].Pause = pause, pause
		}
		note := func() {
			switch open := s.reason().Phase == plan.Open; {
			case open:
				busy = time.Time{}
			case busy.IsZero():
				busy = s.o.At
			}
		}
		for range die / (250 * ms) {
			step()
			s.run(250 * ms)
			note()
		}
		for range 600 { // its samples stop; the sender is still counted
			s.o.At = s.o.At.Add(100 * ms)
			step()
			x := &s.o.Senders[0]
			x.Rates = append(last(x.Rates, keptRates), plan.TxRate{At: plan.At(s.o.At), Tx: x.Limit})
			p := s.Step(s.o)
			s.reasons = p.Reasons
			note()
			for _, l := range p.Limits {
				if l.To > l.From {
					raises++
				}
				x.Limit = l.To
			}
		}
		if most = max(most, raises); raises > 1 {
			t.Errorf("%d raises after an agent died %v after the start", raises, die)
		}
	}
	if most == 0 {
		t.Error("nothing was raised: it was not tested")
	}
}
