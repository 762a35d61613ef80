package report

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
	"github.com/detnet/detnet/sim/score"
)

func TestTheOriginalsBeginWhereTheyBegan(t *testing.T) {
	world := worldNamed(t, "udp-overload")
	world.Length = time.Second
	suite := Suite{Config: law.DefaultConfig()}
	for name, want := range map[string]bitrate.Rate{law.AIMD: 100 * bitrate.Mbit, law.Stepwise: 100 * bitrate.Mbit, law.Adaptive: bitrate.Gbit} {
		r, err := suite.play(world, name, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, limit := range r.Points[0].Limits {
			if limit != want {
				t.Errorf("%s: %s begins with %v, want %v", name, r.Senders[i], limit, want)
			}
		}
	}
	if world.Senders[0].Initial != bitrate.Gbit {
		t.Error("the scenario of the others was changed")
	}
	low := startingAt(worldNamed(t, "low-limits"), originalStart)
	if low.Senders[0].Initial != 25*bitrate.Mbit {
		t.Errorf("a limit below it became %v", low.Senders[0].Initial)
	}
}

func TestVersusTheOriginals(t *testing.T) {
	world := sim.Scenario{Name: "w", About: "w"}
	run := func(name string, seed uint64, late int, goodput bitrate.Rate) sim.Score {
		return sim.Score{Scenario: "w", Law: name, Seed: seed, Figures: score.Figures{Probes: 1000, Late: late, Violation: float64(late) / 1000, Goodput: goodput}}
	}
	r := &Results{Suite: Suite{Scenarios: []sim.Scenario{world}, Laws: law.Names(), Seeds: []uint64{1, 2, 3}}}
	for seed := range uint64(3) {
		r.Scores = append(r.Scores,
			run(law.Adaptive, seed, 10+int(seed), 180*bitrate.Mbit), run(law.AIMD, seed, 330, 150*bitrate.Mbit), run(law.Stepwise, seed, 55, 120*bitrate.Mbit))
	}
	rows := r.Table()
	if got := rows[0].Versus[law.AIMD]; math.Abs(got.TimesLess-30) > 1e-9 || got.Goodput != 1.2 {
		t.Errorf("against aimd: %+v, want 30 times less at 1.2 of its goodput", got)
	}
	if rows[1].Versus != nil {
		t.Errorf("aimd is compared, too: %+v", rows[1].Versus)
	}
	var summary bytes.Buffer
	if err := r.WriteSummary(&summary); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(summary.String(), "| w | 30.0 | 120.0 % | 5.0 | 150.0 % |") {
		t.Errorf("the summary lacks the comparison:\n%s", summary.String())
	}
}
