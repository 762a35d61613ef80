package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// together is what all senders may send.
func (s *stage) together() (sum bitrate.Rate) {
	for _, x := range s.o.Senders {
		sum += x.Limit
	}
	return sum
}

// Where a fifth of many senders sends at a time, their limits come to more than fits
// through, until a queue stands; of few any one may send at once with the others.
func TestLimitsOfManyWhoRarelySendTogether(t *testing.T) {
	for _, tt := range []struct {
		name    string
		senders int
		at      int // each so manieth sends at a time
		more    bool
	}{{"a fifth of twenty", 20, 5, true}, {"all of twenty", 20, 1, false}, {"a fifth of five", 5, 5, false}} {
		t.Run(tt.name, func(t *testing.T) {
			limits := make([]bitrate.Rate, tt.senders)
			for i := range limits {
				limits[i] = 190 * mbit / bitrate.Rate(tt.senders)
			}
			s := newStage(t, jitter1ms, limits...)
			for i := range s.o.Senders {
				s.o.Senders[i].Min = mbit
			}
			s.idle = func(i int) bool { return (i+s.probes/12)%tt.at != 0 }
			s.run(2 * time.Second)
			s.learned()
			s.run(20 * time.Second)
			if more := s.together() > 300*mbit; more != tt.more {
				t.Errorf("limits of %v together where 190M fit, overbooked %v, want %v", s.together(), more, tt.more)
			}
			before := s.together()
			s.delay = 20 * ms
			if s.run(500 * ms); float64(s.together()) > 0.65*float64(before) {
				t.Errorf("limits of %v together half a second after a queue began, %v before", s.together(), before)
			}
			if s.run(1500 * ms); s.together() > 196*mbit {
				t.Errorf("limits of %v together two seconds after a queue began", s.together())
			}
		})
	}
}

// Who sends all it can among many that send little has what these do not use, also where
// their limits came to more before: none of them would use a part of it.
func TestWhoSendsAllItCanHasWhatManyDoNotUse(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		limits := make([]bitrate.Rate, 16)
		for i := range limits {
			limits[i] = 12 * mbit
		}
		s := newStage(t, jitter1ms, limits...)
		for i := range s.o.Senders {
			s.o.Senders[i].Min = mbit
		}
		busy := 0
		s.each = func(i int) bitrate.Rate {
			switch {
			case i == busy:
				return 1000 * mbit
			case quiet && (i+s.probes/12)%5 != 0:
				return mbit / 10
			}
			return 2 * mbit
		}
		s.run(2 * time.Second)
		s.learned()
		for busy = range 3 {
			if s.run(30 * time.Second); s.limits()[busy] < 70 {
				t.Errorf("quiet now and then %v: after half a minute the limit of %d, which sends all it can, is %vM; all: %v", quiet, busy, s.limits()[busy], s.limits())
			}
		}
	}
}

// Where all of those who rarely send do so at once, their limits go back at once to what
// fits through and empties the queue, not in steps that each leave it growing.
func TestAllWhoRarelySendAtOnceAreCutOnce(t *testing.T) {
	s := overbooked(t)
	before := s.together()
	s.idle = nil
	late, fits := 0, 196*mbit
	for range 4 * 10 {
		more := float64(s.together()-fits) / float64(fits) / 4
		if s.delay = min(max(0, s.delay+time.Duration(more*float64(time.Second))), 50*ms); s.delay > ms {
			late++
		}
		s.run(250 * ms)
	}
	if before < 2*fits || late > 2 {
		t.Errorf("with limits of %v where %v fit a queue stood in %d looks, want two: until it is seen, and until the cut is in force", before, fits, late)
	}
	if s.together() < 9*fits/10 {
		t.Errorf("limits of %v at last, %v fit", s.together(), fits)
	}
}

// overbooked is a minute of twenty of which a fifth sends at a time.
func overbooked(t *testing.T) *stage {
	limits := make([]bitrate.Rate, 20)
	for i := range limits {
		limits[i] = 190 * mbit / 20
	}
	s := newStage(t, jitter1ms, limits...)
	for i := range s.o.Senders {
		s.o.Senders[i].Min = mbit
	}
	s.idle = func(i int) bool { return (i+s.probes/12)%5 != 0 }
	s.run(2 * time.Second)
	s.learned()
	s.State.Adaptive.Budgets[0].Link.Measured = true
	s.run(time.Minute)
	return s
}

// Some packets that are late while less is sent than is known to fit are no reason to take
// anything, neither where limits come to more than that.
func TestATailWithoutAQueueTakesNothingOfWhatIsOverbooked(t *testing.T) {
	s := overbooked(t)
	before := s.together()
	s.delay, s.fifth = 3*ms, true
	s.run(10 * time.Second)
	if s.together() < before {
		t.Errorf("limits of %v together, %v before a fifth of the packets was late: %+v", s.together(), before, s.reason())
	}
}

// One that pauses now and then where just enough send is no reason to cut all of them
// and to raise them again.
func TestOverbookingDoesNotComeAndGoWithOneSender(t *testing.T) {
	s := overbooked(t)
	for i := range s.o.Senders {
		s.o.Senders[i].Max = 30 * mbit
	}
	some := func(n int) { s.idle = func(i int) bool { return i >= n || (i+s.probes/12)%5 != 0 } }
	some(8)
	s.run(time.Minute)
	writes := s.writes
	for range 4 {
		some(7)
		s.run(15 * time.Second)
		some(8)
		s.run(15 * time.Second)
	}
	if n := s.writes - writes; n > 16 {
		t.Errorf("%d writes in two minutes, in which one of eight paused four times", n)
	}
}

// Two looks at the same time tell no more than one.
func TestTwoLooksAtTheSameTime(t *testing.T) {
	s := overbooked(t)
	s.State.Adaptive.Budgets[0].Search.Overbooked.Since = s.o.At
	s.Step(s.o)
	if o := s.State.Adaptive.Budgets[0].Search.Overbooked; o.Mean != o.Mean || o.Dev != o.Dev {
		t.Errorf("%+v", o)
	}
}

// A new leader takes limits that come to more than was found to fit, as those of many may,
// for overbooked: it does not raise them in the large steps of who knows nothing.
func TestANewLeaderGoesOnWithOverbookedLimits(t *testing.T) {
	s := overbooked(t)
	s.o.Told = []plan.Told{{Node: "n1", Found: 190 * mbit}}
	before := s.together()
	s.State = State{}
	s.run(30 * time.Second)
	if s.together() > before*11/10 || s.together() < before*3/4 {
		t.Errorf("limits of %v together half a minute after a leader began, %v before", s.together(), before)
	}
	if b := s.State.Adaptive.Budgets[0]; b.Total > 200*mbit {
		t.Errorf("a budget of %v, 190M were found to fit", b.Total)
	}
}
