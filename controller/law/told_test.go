package law

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// The first cut after an onset goes to what is said to fit, unless what is seen speaks
// against it.
func TestTheFirstCutGoesToWhatIsTold(t *testing.T) {
	for _, tt := range []struct {
		name  string
		said  plan.Told
		least bitrate.Rate // of the limits together, after the cut
		most  bitrate.Rate
	}{
		{"nothing", plan.Told{}, 299 * mbit, 300 * mbit},
		{"by the leader before", plan.Told{Found: 194 * mbit}, 98 * mbit, 180 * mbit},
		{"by an administrator", plan.Told{Rate: 200 * mbit}, 98 * mbit, 180 * mbit},
		{"by both, the less counts", plan.Told{Found: 400 * mbit, Rate: 200 * mbit}, 98 * mbit, 180 * mbit},
		{"more than is sent, and a queue stands", plan.Told{Found: 1940 * mbit}, 299 * mbit, 300 * mbit},
		{"of another node", plan.Told{Node: "n2", Found: 194 * mbit}, 299 * mbit, 300 * mbit},
	} {
		s := newStage(t, jitter1ms, bitrate.Gbit, bitrate.Gbit)
		if tt.said.Node == "" {
			tt.said.Node = "n1"
		}
		s.o.Told = []plan.Told{tt.said}
		s.sending = 10 * mbit
		s.run(2 * time.Second)
		s.sending, s.delay = 300*mbit, 20*ms
		var sum bitrate.Rate
		for range 8 {
			s.run(250 * ms)
			if s.writes > 0 {
				sum = s.o.Senders[0].Limit + s.o.Senders[1].Limit
				break
			}
		}
		if sum < tt.least || sum > tt.most {
			t.Errorf("told %s: %v after the first cut, want %v to %v", tt.name, sum, tt.least, tt.most)
		}
	}
}

// More went through without a queue than is said to: what is said is not believed.
func TestWhatWasProvenIsBelievedFirst(t *testing.T) {
	s := newStage(t, jitter1ms, 150*mbit, 150*mbit)
	s.o.Told = []plan.Told{{Node: "n1", Found: 100 * mbit}}
	s.run(time.Second)
	s.learned()
	s.State.Adaptive.Budgets[0].Link.Proven = 190 * mbit
	s.delay = 100 * ms
	s.run(500 * ms)
	if sum := s.o.Senders[0].Limit + s.o.Senders[1].Limit; s.writes == 0 || sum < 80*mbit {
		t.Errorf("cut to %v, by what is said to fit", sum)
	}
}

// A new leader that finds the limits of the one before in use, and that one's figure,
// goes on from there: it does not try for a third more at once.
func TestANewLeaderBeginsFromWhatWasFound(t *testing.T) {
	for said, want := range map[bitrate.Rate]plan.Phase{194 * mbit: plan.Settled, 1940 * mbit: plan.Open, 19 * mbit: plan.Open, 0: plan.Open} {
		s := newStage(t, jitter1ms, 97*mbit, 97*mbit)
		s.o.Told = []plan.Told{{Node: "n1", Found: said}}
		s.run(time.Second)
		if got := s.reason().Phase; got != want {
			t.Errorf("told %v: phase %s, want %s", said, got, want)
		}
	}
	// Limits that nobody uses are worth what they say to nobody.
	s := newStage(t, jitter1ms, 97*mbit, 97*mbit)
	s.o.Told, s.sending = []plan.Told{{Node: "n1", Found: 194 * mbit}}, 10*mbit
	s.run(time.Second)
	if got := s.reason().Phase; got != plan.Open {
		t.Errorf("not in use: phase %s", got)
	}
}
