package law

import (
	"fmt"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Idle pods keep their floors without taking them out of the busy one's budget, and
// have them when they send.
func TestIdleFloorsAreNotTaken(t *testing.T) {
	limits := []bitrate.Rate{1000 * mbit}
	for range 25 {
		limits = append(limits, 10*mbit)
	}
	s := newStage(t, workload.SLO{Jitter: ms}, limits...)
	for i := range s.o.Senders[1:] {
		s.o.Senders[i+1].Pod.Name = fmt.Sprintf("idle%02d", i)
	}
	s.idle = func(i int) bool { return i > 0 }
	s.run(12 * time.Second)
	s.learned()
	s.run(time.Second)
	if got := s.limits(); got[0] < 140 || got[1] != 10 {
		t.Errorf("the busy one has %v, an idle one %v", got[0], got[1])
	}
	s.idle = func(int) bool { return false }
	s.run(time.Second)
	var sum float64
	for _, limit := range s.limits() {
		sum += limit
	}
	if got := s.limits()[0]; got > 20 {
		t.Errorf("the others send: the first has %v, all %v", got, sum)
	}
}

// Floors that come to more than there is are made smaller together, while an app is late
// for it.
func TestFloorsAreBoundedTogether(t *testing.T) {
	s := newStage(t, workload.SLO{Jitter: ms}, 100*mbit, 100*mbit, 100*mbit, 100*mbit)
	for i := range s.o.Senders {
		s.o.Senders[i].Min = 100 * mbit
	}
	s.run(2 * time.Second)
	queue := 0.0
	for range 60 { // a link of 200 Mbit/s with 40 ms of queue
		sum := 0.0
		for _, limit := range s.limits() {
			sum += limit
		}
		queue = min(max(queue+(sum-200)/200*250, 0), 40)
		s.delay = time.Duration(queue * float64(ms))
		s.run(250 * ms)
	}
	got := s.limits()
	if queue > 0 || got[0] < 40 || got[0] > 50 || got[0] != got[3] {
		t.Errorf("limits %v with %.0f ms of queue", got, queue)
	}
}
