package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// A pod that comes to a full node is given its share of what fits at the first sight of
// it, with a limit of its own or without one, before it has sent anything; the others
// make room at once. What all may send together is never more than fits.
func TestANewcomerStartsAtWhatIsLeft(t *testing.T) {
	for name, limit := range map[string]bitrate.Rate{"without a limit": 0, "with its class's": 100 * mbit, "with far too much": bitrate.Gbit} {
		for phase, prepare := range map[string]func(*stage){
			"settled":       func(*stage) {},
			"near a target": func(s *stage) { s.delay = 400 * time.Microsecond; s.run(time.Second) },
			"in trouble":    func(s *stage) { s.delay = 20 * ms; s.run(500 * ms) },
		} {
			s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
			s.run(2 * time.Second)
			s.learned()
			prepare(s)
			newcomer := sender("c", limit)
			if limit == 0 {
				newcomer.Limit = 0
			}
			s.o.Senders = append(s.o.Senders, newcomer)
			s.o.At = s.o.At.Add(100 * ms)
			p := s.Step(s.o)
			limits := map[plan.PodID]bitrate.Rate{}
			for _, x := range s.o.Senders {
				limits[x.Pod] = x.Limit
			}
			for _, l := range p.Limits {
				limits[l.Pod] = l.To
			}
			var sum bitrate.Rate
			for pod, l := range limits {
				if l == 0 {
					t.Errorf("%s, %s: %s is not limited", name, phase, pod)
				}
				sum += l
			}
			if sum > 196*mbit {
				t.Errorf("%s, %s: together they may send %v where 190M fit", name, phase, sum)
			}
		}
	}
}
