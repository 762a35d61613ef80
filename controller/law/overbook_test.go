package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
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
	s.run(time.Minute)
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
