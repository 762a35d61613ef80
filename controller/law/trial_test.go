package law

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law/adaptive"
	"github.com/detnet/detnet/controller/plan"
)

// After giving up the law stays away twice as long each time.
func TestBackOffDoubles(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.run(2 * time.Second)
	s.delay = 5 * ms
	var gaveUp []time.Time
	for i := range 4 * 1000 {
		s.delay = 5 * ms
		if i%120 == 0 {
			s.delay = 0 // so that the path's base is not forgotten
		}
		session := &s.o.Apps[0].Sessions[0]
		session.Samples = last(session.Samples, 150)
		s.run(250 * ms)
		if s.reason().Action == plan.Restore {
			gaveUp = append(gaveUp, s.o.At)
		}
	}
	if len(gaveUp) < 4 {
		t.Fatalf("gave up %d times in 1000 s: %v", len(gaveUp), gaveUp)
	}
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		if got := gaveUp[i+1].Sub(gaveUp[i]); got < want || got > want+10*time.Second {
			t.Errorf("pause %d: %v, want %v", i, got, want)
		}
	}
}

// assume goes on as if its value had been measured, decrease takes a little each
// second down to the floor, hold does nothing.
func TestBlindPolicies(t *testing.T) {
	for _, tt := range []struct {
		blind  adaptive.BlindPolicy
		assume time.Duration
		lowest func(limit float64) bool
	}{
		{adaptive.BlindHold, 0, func(x float64) bool { return x == 95 }},
		{adaptive.BlindDecrease, 0, func(x float64) bool { return x >= 10 && x < 80 }},
		{adaptive.BlindAssume, 300 * time.Microsecond, func(x float64) bool { return x >= 95 }},
		{adaptive.BlindAssume, 5 * ms, func(x float64) bool { return x < 95 }},
	} {
		s := newStage(t, jitter1ms, 95*mbit)
		cfg := DefaultConfig()
		cfg.Adaptive.Blind, cfg.Adaptive.Assume = tt.blind, tt.assume
		var err error
		if s.Law, err = New(Adaptive, cfg); err != nil {
			t.Fatal(err)
		}
		s.run(2 * time.Second)
		lowest := s.limits()[0]
		for range 40 { // 10 s without a probe, while the senders go on
			s.o.At = s.o.At.Add(250 * ms)
			x := &s.o.Senders[0]
			rate := min(s.sending, x.Limit)
			x.Rates = append(x.Rates[:len(x.Rates):len(x.Rates)], plan.TxRate{At: plan.At(s.o.At.Add(-100 * ms)), Tx: rate}, plan.TxRate{At: plan.At(s.o.At), Tx: rate})
			p := s.Step(s.o)
			s.reasons = p.Reasons
			for _, limit := range p.Limits {
				x.Limit = limit.To
			}
			lowest = min(lowest, s.limits()[0])
		}
		if !tt.lowest(lowest) {
			t.Errorf("%s %v: limits down to %v in 10 s, %+v", tt.blind, tt.assume, lowest, s.reason())
		}
	}
}

// A newcomer is no reason to cut what nobody sees.
func TestBlindnessCutsNobodyForANewcomer(t *testing.T) {
	s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
	s.run(time.Second)
	s.learned()
	s.o.At = s.o.At.Add(30 * time.Second)
	s.o.Senders = append(s.o.Senders, sender("c", 1000*mbit))
	if p := s.Step(s.o); len(p.Limits) > 0 {
		t.Errorf("blind, yet %+v", p.Limits)
	}
}

// What was in vain for one app was so for all that blame the same link: with many
// of them the senders are not cut for longer.
func TestCutsInVainAreMadeOnceForAllApps(t *testing.T) {
	for _, apps := range []int{1, 2, 10} {
		s := newStage(t, jitter1ms, 1000*mbit)
		for i := range apps - 1 {
			a := s.o.Apps[0]
			a.Pod.Name += string(rune('a' + i))
			s.o.Apps = append(s.o.Apps, a)
		}
		s.run(2 * time.Second)
		s.delay = 5 * ms
		limited := 0
		for range 4 * 50 {
			s.run(250 * ms)
			for i := range s.o.Apps[1:] {
				s.o.Apps[1+i].Sessions = s.o.Apps[0].Sessions
			}
			if s.limits()[0] < 900 {
				limited++
			}
		}
		if limited == 0 || limited > 8 {
			t.Errorf("%d apps: cut for %d quarters of a second, want one trial of at most 2 s", apps, limited)
		}
	}
}

// One app's trouble that no cut helps must not undo the cut that helps another.
func TestAnAppThatIsLetBeDoesNotUndoACutForAnother(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	late := s.o.Apps[0]
	late.Pod.Name = "late"
	s.o.Apps = append(s.o.Apps, late)
	step := func(queue, elsewhere time.Duration) {
		s.delay = queue
		s.run(250 * ms)
		samples := slices.Clone(s.o.Apps[0].Sessions[0].Samples)
		for i := range samples {
			if samples[i].At.After(t0.Add(5 * time.Second)) {
				samples[i].RTT += elsewhere
			}
		}
		s.o.Apps[1].Sessions = []plan.Session{{ID: "a", Vantage: "n2", Samples: samples}}
	}
	queue := func() time.Duration {
		if x := s.limits(); x[0]+x[1] > 200 {
			return 40 * ms
		}
		return 0
	}
	for range 60 { // the late app is tried to be helped, and let be
		step(0, 5*ms)
	}
	if x := s.limits(); x[0] != 1000 {
		t.Fatalf("limits %v, want those of before: no cut helped", x)
	}
	late2, restores := 0, 0
	for range 40 {
		q := queue()
		if q > 0 {
			late2++
		}
		if step(q, 5*ms); s.reason().Action == plan.Restore {
			restores++
		}
	}
	if restores > 0 || late2 > 6 {
		t.Errorf("%d restores, a queue in %d of 40 looks; want the cut that helped kept", restores, late2)
	}
}

// A signal that lags a minute must not keep the others' cut from being settled.
func TestASlowSignalIsNotWaitedFor(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	slow := s.o.Apps[0]
	slow.Pod.Name = "slow"
	slow.Sessions = []plan.Session{{ID: "query", Vantage: "n2", Lag: time.Minute}}
	s.o.Apps = append(s.o.Apps, slow)
	tell := func(rtt time.Duration) {
		q := &s.o.Apps[1].Sessions[0]
		q.Samples = append(q.Samples, plan.Sample{At: plan.At(s.o.At), RTT: rtt})
	}
	for range 8 {
		tell(300 * time.Microsecond)
		s.run(time.Second)
	}
	for range 3 { // it shows a queue of before
		tell(40 * ms)
		s.run(time.Second)
	}
	s.delay = 40 * ms
	s.run(500 * ms)
	cut := s.limits()[0]
	s.delay = 0
	s.run(2 * time.Second)
	if settled := s.limits()[0]; settled <= cut {
		t.Errorf("cut to %vM, and after 2 s of an empty link still %vM", cut, settled)
	}
}
