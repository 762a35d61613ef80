package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/score"
)

func TestRanking(t *testing.T) {
	run := func(world, name string, queued float64, mbit int) sim.Score {
		return sim.Score{Scenario: world, Law: name, Queued: queued, Figures: score.Figures{Probes: 1000, Violation: queued, Goodput: bitrate.Rate(mbit) * bitrate.Mbit}}
	}
	r := &Results{Suite: Suite{
		Scenarios: []sim.Scenario{{Name: "kept", About: "k"}, {Name: "lost", About: "l"}, {Name: "nobody", About: "n"}, {Name: "elsewhere", About: "e", Elsewhere: true}},
		Laws:      []string{law.Adaptive, "swift", NothingName}, Seeds: []uint64{1},
	}}
	r.Scores = []sim.Score{
		run("kept", law.Adaptive, 0.005, 180), run("kept", "swift", 0.02, 199), run("kept", NothingName, 0.9, 200),
		run("lost", law.Adaptive, 0.005, 150), run("lost", "swift", 0.009, 180),
		run("nobody", law.Adaptive, 0.03, 150), run("nobody", "swift", 0.04, 180),
		run("elsewhere", law.Adaptive, 0.4, 119), run("elsewhere", "swift", 0.4, 120),
	}
	got := r.Ranking()
	if len(got) != 2 || got[0].Law != law.Adaptive || got[0].Won != 3 || got[0].Kept != 3 || got[1].Won != 2 || got[1].Kept != 2 || got[1].Worlds != 4 {
		t.Errorf("%+v", got)
	}
	var b bytes.Buffer
	r.writeRanking(&b, r.Table())
	if text := b.String(); !strings.Contains(text, "| adaptive | 3 of 4 | 3 |") || !strings.Contains(text, "| lost | swift | 0.90 % | 180M | 0.50 % | 150M |") || strings.Contains(text, "| nobody |") {
		t.Error(text)
	}
}

// Every contender plays, and a new controller begins anew.
func TestContendersPlay(t *testing.T) {
	world := worldNamed(t, "restart")
	world.Length, world.End = 20e9, 20e9
	world.Events = append(world.Events, sim.Event{At: 15e9, Restart: true})
	suite := Suite{Config: law.DefaultConfig()}
	for _, name := range Names() {
		if name == OracleName || decides(name) {
			continue
		}
		r, err := suite.play(world, name, 1)
		if err != nil || (r.Patches == 0) != (name == NothingName) {
			t.Errorf("%s: %v, %d patches", name, err, r.Patches)
		}
	}
}
