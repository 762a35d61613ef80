package marks

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

func settledAt(budget bitrate.Rate) status.Reason {
	r := reason(plan.Calm, budget, budget)
	r.Phase = plan.Settled
	return r
}

// What is noted is what the law settled on, once it has stood for a minute, and not for
// a little.
func TestWhatIsFoundIsNoted(t *testing.T) {
	c := Config{Remember: true}
	trying := settledAt(99)
	trying.Phase = plan.Trying
	idle := settledAt(95)
	idle.UsageBps = 10 * mbit
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // of play
	known := func(age time.Duration) inventory.Marks {
		return inventory.Marks{Found: workload.Found{Rate: 95 * mbit, At: began.Add(-age)}}
	}
	for _, tt := range []struct {
		name   string
		config Config
		marks  inventory.Marks
		phases []phase
		want   []bitrate.Rate // in Mbit/s
	}{
		{"once it stood for a minute", c, inventory.Marks{}, []phase{{r: settledAt(95), span: time.Minute}, {r: settledAt(95), span: sec}}, []bitrate.Rate{0, 95}},
		{"not what wanders", c, inventory.Marks{}, []phase{{r: settledAt(95), span: 40 * sec}, {r: settledAt(80), span: 40 * sec}, {r: settledAt(95), span: 40 * sec}}, []bitrate.Rate{0, 0, 0}},
		{"not what is tried", c, inventory.Marks{}, []phase{{r: trying, span: 5 * time.Minute}}, []bitrate.Rate{0}},
		{"not where the uplink is not full", c, inventory.Marks{}, []phase{{r: idle, span: 5 * time.Minute}}, []bitrate.Rate{0}},
		{"not in trouble", c, inventory.Marks{}, []phase{{r: violated, span: 5 * time.Minute}}, []bitrate.Rate{0}},
		{"not for a little", c, known(time.Hour), []phase{{r: settledAt(98), span: time.Hour}}, []bitrate.Rate{95}},
		{"for more", c, known(time.Hour), []phase{{r: settledAt(103), span: 2 * time.Minute}}, []bitrate.Rate{103}},
		{"each ten minutes at most", c, known(time.Minute), []phase{{r: settledAt(50), span: 8 * time.Minute}, {r: settledAt(50), span: 2 * time.Minute}}, []bitrate.Rate{95, 50}},
		{"where what is noted is of a time to come", c, known(-time.Hour), []phase{{r: settledAt(50), span: 2 * time.Minute}}, []bitrate.Rate{50}},
		{"not while it is switched off", Config{}, known(time.Hour), []phase{{r: settledAt(50), span: 5 * time.Minute}}, []bitrate.Rate{0}},
	} {
		for i, w := range play(tt.config, tt.marks, tt.phases...) {
			if w.found.Rate != tt.want[i]*mbit || w.congested || w.bandwidth != 0 {
				t.Errorf("%s: after phase %d %+v, want %dM", tt.name, i, w, tt.want[i])
			}
		}
	}
	// The same figure is noted again before it is too old.
	w := play(c, known(noteAgain), phase{r: settledAt(95), span: 2 * time.Minute})
	if w[0].found.At.Before(began) {
		t.Errorf("noted %v, %v ago, and not again", w[0].found, noteAgain)
	}
}

// However the budget moves, a node is written to at most each ten minutes.
func TestNotesAreRare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var known map[string]uplink
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var last workload.Found
		for _, budget := range rapid.SliceOfN(rapid.IntRange(10, 1000), 1, 50).Draw(t, "budgets") {
			for range rapid.IntRange(1, 200).Draw(t, "seconds") {
				now = now.Add(sec)
				var w map[string]want
				known, w = decide(Config{Remember: true}, known, nil, []status.Reason{settledAt(bitrate.Rate(budget))}, now, sec)
				found := w["n1"].found
				if found != last && last.Rate != 0 && found.At.Sub(last.At) < noteEvery {
					t.Fatalf("%v follows %v", found, last)
				}
				last = found
			}
		}
	})
}
