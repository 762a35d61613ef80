package law

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/detnet/detnet/internal/clockstep"
	"github.com/detnet/detnet/workload"
)

// Whenever the controller's wall clock is set, by an hour ahead or back, every law
// decides what it would have decided: in an onset, while it drains, and as it grows.
func TestASetClockChangesNoDecision(t *testing.T) {
	// played is what was decided at each step, with the clock set before one of them.
	played := func(name string, at int, by time.Duration) (all []string) {
		l, err := New(name, DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		s := newStage(t, workload.SLO{Jitter: ms}, 100*mbit, 100*mbit)
		s.Run = Run{Law: l}
		s.o.At = time.Now()
		queue := 0.0
		for i := range 80 { // a link of 150 Mbit/s with 40 ms of queue
			if i == at {
				s.o.At = clockstep.Set(s.o.At, by)
			}
			sum := 0.0
			for _, limit := range s.limits() {
				sum += min(limit, 150)
			}
			queue = min(max(queue+(sum-150)/150*250, 0), 40)
			s.delay = time.Duration(queue * float64(ms))
			s.run(250 * ms)
			all = append(all, fmt.Sprint(s.limits()))
		}
		return all
	}
	for _, name := range []string{Adaptive, AIMD, Stepwise} {
		want := played(name, -1, 0)
		if want[0] == want[79] {
			t.Errorf("%s: the scene has nothing to decide: %s", name, want[0])
		}
		for at := 2; at < 80; at += 13 {
			for _, by := range []time.Duration{time.Hour, -time.Hour} {
				if got := played(name, at, by); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, set by %v before step %d:\n%v\nwant\n%v", name, by, at, got, want)
				}
			}
		}
	}
}
